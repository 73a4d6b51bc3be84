//! Status of a CargoToken: conditions and what `kubectl get` shows. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;

use super::observe::secret_name;
use super::plan;
use crate::crd::conditions::{self, Finding, READY, Truth};
use crate::crd::token::{CargoToken, CargoTokenStatus, IssuedToken};

/// The registry knows the token and takes it.
pub(super) const REGISTERED: &str = "Registered";
/// The Secret holds the token and Cargo's two files.
pub(super) const SECRET_WRITTEN: &str = "SecretWritten";

/// A finding, spelled as this controller needs it.
pub(super) fn finding(type_: &'static str, truth: Truth, reason: &'static str, message: impl Into<String>) -> Finding {
    Finding::new(type_, truth, reason, message)
}

/// Everything is in force: the token in the Secret is known to the registry.
pub(super) fn handed_out(
    token: &CargoToken,
    issued: &[IssuedToken],
    current: &IssuedToken,
    now: Timestamp,
) -> CargoTokenStatus {
    let secret = secret_name(token);
    let registry = &token.spec.registry_ref.name;
    let expiry = plan::expires_at(&token.spec, current);
    let until = expiry.map_or_else(|| "and does not expire".to_owned(), |at| format!("and expires at {at}"));
    let findings = [
        finding(REGISTERED, Truth::True, "InForce", format!("CargoRegistry {registry} takes the token")),
        finding(SECRET_WRITTEN, Truth::True, "Written", format!("Secret {secret} holds it")),
        finding(READY, Truth::True, "Issued", format!("the token in Secret {secret} is in force {until}")),
    ];
    let mut status = with(token, findings, now);
    status.issued = issued.to_vec();
    status.secret_name = Some(secret);
    status.expires_at = expiry.map(Time);
    status
}

/// The object has to wait or cannot be served. A token that was handed out before stays where it is, so only `Ready` speaks.
pub(super) fn blocked(token: &CargoToken, ready: Finding, now: Timestamp) -> CargoTokenStatus {
    let mut findings = vec![ready];
    let known = token.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    for type_ in [REGISTERED, SECRET_WRITTEN] {
        if conditions::get(known, type_).is_none() {
            findings.push(finding(type_, Truth::Unknown, "Waiting", "not yet: see Ready"));
        }
    }
    with(token, findings, now)
}

/// The status as it is, with `findings` merged in.
pub(super) fn with(
    token: &CargoToken,
    findings: impl IntoIterator<Item = Finding>,
    now: Timestamp,
) -> CargoTokenStatus {
    let mut status = token.status.clone().unwrap_or_default();
    let generation = token.meta().generation.unwrap_or_default();
    for finding in findings {
        conditions::set(&mut status.conditions, finding, now, generation);
    }
    status.observed_generation = Some(generation);
    status
}
