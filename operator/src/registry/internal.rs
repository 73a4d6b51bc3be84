//! The internal Secret `NAME-internal`: the admin credential, the one that replicas show each other, and the certificate of the
//! internal listener.
//!
//! What is valid is kept as it is; what is missing, foreign to us or two thirds through its life is issued anew. The
//! certificate that was in force stays in `ca.crt` beside the new one, so that a client that trusts `ca.crt` talks both
//! to pods that have loaded the new certificate and to those that have not.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SerialNumber,
};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::names;

/// Key of the admin credential.
pub const ADMIN_TOKEN: &str = "admin-token";
/// Key of what replicas show each other.
pub const PEER_TOKEN: &str = "peer-token";
/// Key of the certificate.
pub const CERTIFICATE: &str = "tls.crt";
/// Key of its private key.
pub const PRIVATE_KEY: &str = "tls.key";
/// Key of the certificates to trust: the one in force and the one before it.
pub const TRUSTED: &str = "ca.crt";

/// Life of a certificate.
const LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Bytes of randomness in a credential.
const CREDENTIAL_BYTES: usize = 32;

/// Contents of the internal Secret. Its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Internal {
    data: BTreeMap<String, ByteString>,
    issued: String,
    renewed: bool,
}

impl fmt::Debug for Internal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Internal(***, issued: {:?}, renewed: {})", self.issued, self.renewed)
    }
}

impl Internal {
    /// The data of the Secret.
    pub fn data(&self) -> &BTreeMap<String, ByteString> {
        &self.data
    }

    /// Value of the annotation [`names::CERTIFICATE_ISSUED`], by which the next pass knows the certificate as ours.
    pub fn issued(&self) -> &str {
        &self.issued
    }

    /// Whether a certificate was issued just now.
    pub fn renewed(&self) -> bool {
        self.renewed
    }

    /// Certificates to trust for the internal listener, PEM.
    pub fn trusted(&self) -> &[u8] {
        self.data.get(TRUSTED).map_or(&[], |b| &b.0)
    }
}

/// The Secret's contents as they are to be: those of `live` while they are valid, else new ones.
///
/// # Errors
/// The certificate could not be made: a defect.
pub fn material(
    registry: &str,
    namespace: &str,
    live: Option<&Secret>,
    now: Timestamp,
    fill_random: fn(&mut [u8]),
) -> Result<Internal> {
    let empty = BTreeMap::new();
    let old = live.and_then(|s| s.data.as_ref()).unwrap_or(&empty);
    let mut data = BTreeMap::new();

    for key in [ADMIN_TOKEN, PEER_TOKEN] {
        let kept = old.get(key).filter(|token| !token.0.is_empty()).cloned();
        data.insert(key.to_owned(), kept.unwrap_or_else(|| new_credential(fill_random)));
    }

    let stamp = live.and_then(|s| s.metadata.annotations.as_ref()).and_then(|a| a.get(names::CERTIFICATE_ISSUED));
    let kept = Stamp::parse(stamp.map_or("", String::as_str)).filter(|stamp| stamp.holds(old, now));
    let (stamp, renewed) = match kept {
        Some(stamp) => {
            for key in [CERTIFICATE, PRIVATE_KEY, TRUSTED] {
                data.extend(old.get_key_value(key).map(|(k, v)| (k.clone(), v.clone())));
            }
            (stamp, false)
        }
        None => {
            let issued = issue(registry, namespace, now, fill_random)?;
            let previous = old.get(CERTIFICATE).filter(|_| live.is_some()).map(|c| c.0.as_slice());
            let mut trusted = issued.certificate.clone().into_bytes();
            trusted.extend_from_slice(previous.unwrap_or_default());
            data.insert(CERTIFICATE.to_owned(), ByteString(issued.certificate.into_bytes()));
            data.insert(PRIVATE_KEY.to_owned(), ByteString(issued.private_key.into_bytes()));
            data.insert(TRUSTED.to_owned(), ByteString(trusted));
            (issued.stamp, true)
        }
    };
    Ok(Internal { data, issued: stamp.to_string(), renewed })
}

fn new_credential(fill_random: fn(&mut [u8])) -> ByteString {
    let mut bytes = [0; CREDENTIAL_BYTES];
    fill_random(&mut bytes);
    ByteString(URL_SAFE_NO_PAD.encode(bytes).into_bytes())
}

/// What we remember of a certificate that we issued: which bytes, and how long they are good.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    sha256: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Stamp {
    fn parse(text: &str) -> Option<Stamp> {
        let mut words = text.split(' ');
        let stamp = Stamp {
            sha256: words.next()?.to_owned(),
            not_before: words.next()?.parse().ok()?,
            not_after: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(stamp)
    }

    /// Whether `data` is what was issued, and is less than two thirds through its life.
    fn holds(&self, data: &BTreeMap<String, ByteString>, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        let age = now.duration_since(self.not_before);
        let intact = data.get(CERTIFICATE).zip(data.get(PRIVATE_KEY)).zip(data.get(TRUSTED)).is_some_and(
            |((certificate, key), trusted)| {
                digest(&certificate.0, &key.0) == self.sha256 && trusted.0.starts_with(&certificate.0)
            },
        );
        intact && age >= SignedDuration::ZERO && age < life * 2 / 3
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.sha256, self.not_before, self.not_after)
    }
}

/// Over certificate and key, so that a change to either is noticed. The key has far too much entropy for its part in this to tell
/// anything.
fn digest(certificate: &[u8], private_key: &[u8]) -> String {
    let parts = Sha256::new().chain_update(Sha256::digest(certificate)).chain_update(Sha256::digest(private_key));
    hex::encode(parts.finalize())
}

struct Issued {
    certificate: String,
    private_key: String,
    stamp: Stamp,
}

/// A self-signed server certificate for the internal Service. It is not a CA: who trusts it trusts this one listener.
fn issue(registry: &str, namespace: &str, now: Timestamp, fill_random: fn(&mut [u8])) -> Result<Issued> {
    let failed = |error: rcgen::Error| Error::Internal { action: "issue a certificate", message: error.to_string() };
    let mut serial = [0; 16];
    fill_random(&mut serial);
    serial[0] &= 0x7f; // a positive integer (RFC 5280, 4.1.2.2)

    let mut params = CertificateParams::new(names::internal_dns_names(registry, namespace)).map_err(failed)?;
    // The serial makes the subject unique, so that two certificates in `ca.crt` are never taken for each other.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("supercargo {}", hex::encode(&serial[..8])));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Whole days: the hours before `now` allow for clocks that differ.
    let day = |t: Timestamp| {
        let date = t.to_zoned(TimeZone::UTC).date();
        let month = u8::try_from(date.month()).expect("a month is 1 to 12");
        let day = u8::try_from(date.day()).expect("a day is 1 to 31");
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    let not_before = now - SignedDuration::from_hours(24);
    let not_after = now + LIFETIME;
    params.not_before = day(not_before);
    params.not_after = day(not_after);

    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?.pem();
    let private_key = key.serialize_pem();
    let stamp = Stamp {
        sha256: digest(certificate.as_bytes(), private_key.as_bytes()),
        not_before: crate::crd::conditions::whole_second(now),
        not_after: crate::crd::conditions::whole_second(not_after),
    };
    Ok(Issued { certificate, private_key, stamp })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

    use super::*;

    fn noise(buffer: &mut [u8]) {
        rand::fill(buffer);
    }

    fn start() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn secret(material: &Internal) -> Secret {
        let annotations = BTreeMap::from([(names::CERTIFICATE_ISSUED.to_owned(), material.issued().to_owned())]);
        Secret {
            metadata: ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() },
            data: Some(material.data().clone()),
            ..Secret::default()
        }
    }

    fn first() -> Internal {
        material("company", "demo", None, start(), noise).unwrap()
    }

    #[test]
    fn what_is_valid_is_kept_to_the_byte() {
        let first = first();
        assert!(first.renewed());
        let days_59 = start() + SignedDuration::from_hours(59 * 24);
        let again = material("company", "demo", Some(&secret(&first)), days_59, noise).unwrap();
        assert!(!again.renewed());
        assert_eq!((again.data(), again.issued()), (first.data(), first.issued()));
    }

    #[test]
    fn two_thirds_through_its_life_it_is_renewed_and_the_old_one_stays_trusted() {
        let first = first();
        let days_61 = start() + SignedDuration::from_hours(61 * 24);
        let second = material("company", "demo", Some(&secret(&first)), days_61, noise).unwrap();
        assert!(second.renewed());
        assert_eq!(second.data()[ADMIN_TOKEN], first.data()[ADMIN_TOKEN], "the credential stays");
        assert_ne!(second.data()[CERTIFICATE], first.data()[CERTIFICATE]);
        let trusted = CertificateDer::pem_slice_iter(second.trusted()).count();
        assert_eq!(trusted, 2);
        let third =
            material("company", "demo", Some(&secret(&second)), days_61 + SignedDuration::from_hours(61 * 24), noise);
        assert_eq!(CertificateDer::pem_slice_iter(third.unwrap().trusted()).count(), 2, "not one more each time");
    }

    #[test]
    fn what_was_tampered_with_is_issued_anew() {
        for key in [CERTIFICATE, PRIVATE_KEY, TRUSTED] {
            let mut live = secret(&first());
            live.data.as_mut().unwrap().insert(key.into(), ByteString(b"rubbish".to_vec()));
            assert!(material("company", "demo", Some(&live), start(), noise).unwrap().renewed(), "{key}");
            live.data.as_mut().unwrap().remove(key);
            assert!(material("company", "demo", Some(&live), start(), noise).unwrap().renewed(), "no {key}");
        }
        let mut live = secret(&first());
        live.metadata.annotations = None;
        assert!(material("company", "demo", Some(&live), start(), noise).unwrap().renewed(), "not known as ours");
    }

    #[test]
    fn an_empty_admin_credential_is_replaced() {
        let mut live = secret(&first());
        live.data.as_mut().unwrap().insert(ADMIN_TOKEN.into(), ByteString(Vec::new()));
        let material = material("company", "demo", Some(&live), start(), noise).unwrap();
        assert_eq!(material.data()[ADMIN_TOKEN].0.len(), 43);
        assert!(!material.renewed(), "the certificate has no part in it");
    }

    #[test]
    fn debug_shows_nothing() {
        let material = first();
        let text = format!("{material:?}");
        let token = String::from_utf8(material.data()[ADMIN_TOKEN].0.clone()).unwrap();
        assert!(!text.contains(&token) && !text.contains("BEGIN"), "{text}");
    }

    #[test]
    fn a_client_that_trusts_ca_crt_accepts_the_listener() {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier;
        let material = first();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(material.trusted()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.into()).build().unwrap();
        let leaf = CertificateDer::from_pem_slice(&material.data()[CERTIFICATE].0).unwrap();
        let at =
            |t: Timestamp| UnixTime::since_unix_epoch(std::time::Duration::from_secs(t.as_second().unsigned_abs()));
        let verify = |name: &str, t: Timestamp| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(&leaf, &[], &name, &[], at(t))
        };
        verify("company-internal.demo.svc", start()).unwrap();
        verify("company-internal.demo.svc", start() + SignedDuration::from_hours(61 * 24)).unwrap();
        verify("company-internal.other.svc", start()).unwrap_err();
    }
}
