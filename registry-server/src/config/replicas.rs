//! `replicas.*`: one process among equal ones over the same bucket.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::read_path;
use super::sources::Values;
use crate::replicas::Mode;

/// Shorter leases would be renewed all the time; longer ones make a change wait for minutes.
const LEASE_MILLIS: std::ops::RangeInclusive<u64> = 100..=60_000;

/// A replica's part among others over the same bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// How long memory may be served without asking the store.
    pub lease: Duration,
    /// What to do when the store cannot be reached.
    pub mode: Mode,
    /// `host:port` of the own internal listener, for the others.
    pub address: Option<String>,
    /// What replicas show each other.
    pub credential_file: Option<PathBuf>,
    /// PEM file with the authorities to trust for the others; plain HTTP without.
    pub ca_bundle_file: Option<PathBuf>,
    /// The name in their certificates.
    pub tls_server_name: Option<String>,
}

/// Kubernetes names an IPv6 pod without the brackets that an address with a port needs.
fn bracketed(text: String) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        _ => text,
    }
}

/// `None` if anything is missing or wrong; the problems then say what.
pub(super) fn read(values: &mut Values) -> Option<Replicas> {
    let millis = values.parse("replicas.lease_millis", |text| text.parse::<u64>().ok());
    if let Some(millis) = millis.filter(|millis| !LEASE_MILLIS.contains(millis)) {
        let place = values.place("replicas.lease_millis");
        values.problem(
            place,
            format!("is {millis}, but has to be from {} to {}", LEASE_MILLIS.start(), LEASE_MILLIS.end()),
        );
    }
    let mode = values.parse("replicas.mode", |text| match text {
        "strict" => Some(Mode::Strict),
        "available" => Some(Mode::Available),
        _ => None,
    });
    let address = values.text("replicas.address").map(bracketed);
    let has_port = |text: &String| text.parse::<http::uri::Authority>().is_ok_and(|it| it.port_u16().is_some());
    if let Some(text) = address.as_ref().filter(|text| !has_port(text)) {
        let place = values.place("replicas.address");
        values.problem(place, format!("is \"{text}\", but has to be a host and a port, such as 10.0.0.7:8081"));
    }
    Some(Replicas {
        lease: Duration::from_millis(millis?),
        mode: mode?,
        address,
        credential_file: read_path(values, "replicas.credential_file"),
        ca_bundle_file: read_path(values, "replicas.ca_bundle_file"),
        tls_server_name: values.text("replicas.tls_server_name"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_pod_gets_its_brackets() {
        for (given, expected) in [
            ("10.0.0.7:8081", "10.0.0.7:8081"),
            ("fd00::7:8081", "[fd00::7]:8081"),
            ("[fd00::7]:8081", "[fd00::7]:8081"),
            ("registry-0.peers:8081", "registry-0.peers:8081"),
        ] {
            assert_eq!(bracketed(given.to_owned()), expected);
        }
    }
}
