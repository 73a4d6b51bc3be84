//! From what was read to what a token can be made with, or to the reason why not yet. Pure.

use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};
use secrecy::SecretString;

use super::mint::Token;
use super::observe::{Observed, secret_name};
use super::{files, report};
use crate::crd::conditions::{self, Finding, READY, Truth};
use crate::crd::registry::CargoRegistry;
use crate::crd::token::CargoToken;
use crate::names;

/// All that is needed to hand out a token; nothing else makes one.
#[derive(Debug)]
pub(super) struct ValidatedToken {
    /// `namespace/name` of the registry, for messages.
    pub(super) registry: String,
    /// What Cargo is told as the index.
    pub(super) index_url: String,
    /// Whether the registry says that it serves.
    pub(super) registry_is_ready: bool,
    /// How to reach its admin API.
    pub(super) admin: Admin,
    /// The Secret as it is, if it is there; it is ours.
    pub(super) secret: Option<Secret>,
    /// The well-formed token in it.
    pub(super) in_secret: Option<Token>,
}

/// What the registry's internal Secret holds for us.
#[derive(Clone)]
pub(super) struct Admin {
    /// The admin credential.
    pub(super) credential: SecretString,
    /// The authority of the listener's certificate, PEM.
    pub(super) ca: Vec<u8>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin(***)")
    }
}

/// Checks everything in the order in which a user would mend it.
///
/// # Errors
/// The finding that says what is missing; the object has to wait.
pub(super) fn validate(token: &CargoToken, observed: Observed) -> Result<ValidatedToken, Finding> {
    let name = &token.spec.registry_ref.name;
    let namespace = token.namespace().unwrap_or_default();
    let Some(registry) = observed.registry else {
        let message = format!(
            "there is no CargoRegistry {name} in namespace {namespace}; create it, or make a CargoToken for another"
        );
        return Err(waiting("RegistryNotFound", message));
    };
    if registry.meta().deletion_timestamp.is_some() {
        return Err(waiting("RegistryDeleting", format!("CargoRegistry {name} is being deleted")));
    }
    let secret = ours(token, observed.secret)?;
    let not_ready =
        |what: &str| waiting("RegistryNotReady", format!("CargoRegistry {name} {what} yet; see its conditions"));
    let status = registry.status.as_ref();
    let index_url = status.and_then(|s| s.index_url.clone()).ok_or_else(|| not_ready("has no index URL"))?;
    let admin = admin_of(&registry, observed.internal).ok_or_else(|| not_ready("has no admin credential"))?;
    let in_secret = secret.as_ref().and_then(token_in);
    Ok(ValidatedToken {
        registry: format!("{namespace}/{name}"),
        index_url,
        registry_is_ready: status.is_some_and(|s| conditions::is_true(&s.conditions, READY)),
        admin,
        secret,
        in_secret,
    })
}

/// The admin credential, if the Secret is there, belongs to this registry, and holds it.
pub(super) fn admin_of(registry: &CargoRegistry, internal: Option<Secret>) -> Option<Admin> {
    let internal = internal?;
    if !names::is_controlled_by(&internal.metadata, registry.uid().as_deref()?) {
        return None;
    }
    let data = internal.data.unwrap_or_default();
    let credential = std::str::from_utf8(&data.get("admin-token")?.0).ok()?.trim().to_owned();
    Some(Admin { credential: credential.into(), ca: data.get("ca.crt")?.0.clone() })
}

fn ours(token: &CargoToken, secret: Option<Secret>) -> Result<Option<Secret>, Finding> {
    let Some(secret) = secret else { return Ok(None) };
    let name = secret_name(token);
    if !names::is_controlled_by(&secret.metadata, &token.uid().unwrap_or_default()) {
        let message = format!(
            "Secret {name} exists and does not belong to this CargoToken; it is left alone. Delete it if nobody needs it, or make a CargoToken \
             with another secretName"
        );
        return Err(report::finding(READY, Truth::False, "SecretNotOurs", message));
    }
    if secret.metadata.deletion_timestamp.is_some() {
        return Err(waiting(
            "SecretDeleting",
            format!("Secret {name} is being deleted; it is written again when it is gone"),
        ));
    }
    Ok(Some(secret))
}

fn token_in(secret: &Secret) -> Option<Token> {
    Token::from_secret(secret.data.as_ref()?.get(files::TOKEN_KEY)?)
}

fn waiting(reason: &'static str, message: String) -> Finding {
    report::finding(READY, Truth::False, reason, message)
}
