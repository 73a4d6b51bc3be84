//! The three places that are written to: status before the registry hears of a token, the registry, the Secret.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::plan;
use crate::admin_api::{AdminError, TokenWanted};
use crate::context::Context;
use crate::crd::token::{CargoToken, CargoTokenStatus, IssuedToken};
use crate::error::{Error, Result};
use crate::names::FieldManager;

/// What the registry has to know of one token.
pub(super) fn wanted(token: &CargoToken, issued: &IssuedToken) -> TokenWanted {
    TokenWanted {
        user: token.spec.user.clone().unwrap_or_else(|| token.name_any()),
        description: format!("CargoToken {}/{}", token.namespace().unwrap_or_default(), token.name_any()),
        grants: token.spec.grants.clone(),
        expires_at: plan::expires_at(&token.spec, issued),
    }
}

/// Writes the Secret: creates it if it was not there, which fails if someone else was faster; else applies, which fails if it is
/// no longer the one that was looked at.
pub(super) async fn write_secret(context: &Context, wanted: &Secret, live: Option<&Secret>) -> Result<()> {
    let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let manager = FieldManager::Token.as_str();
    let outcome = match live {
        None => {
            let params = PostParams { field_manager: Some(manager.into()), ..PostParams::default() };
            api.create(&params, wanted).await
        }
        Some(live) => {
            let mut wanted = wanted.clone();
            wanted.metadata.uid = live.metadata.uid.clone();
            api.patch(&name, &PatchParams::apply(manager).force(), &Patch::Apply(&wanted)).await
        }
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Err(Error::Conflict { object: format!("Secret {namespace}/{name}") })
        }
        Err(error) => Err(Error::kube(format!("write Secret {namespace}/{name}"), error)),
    }
}

/// Writes `status` unless it is so already, on the version of the object that decisions were made on. Returns the object as it is then.
///
/// # Errors
/// [`Error::Conflict`] if someone else wrote the object meanwhile: decide again.
pub(super) async fn write_status(
    context: &Context,
    token: &CargoToken,
    status: &CargoTokenStatus,
) -> Result<CargoToken> {
    if token.status.as_ref() == Some(status) {
        return Ok(token.clone());
    }
    let (namespace, name) = (token.namespace().unwrap_or_default(), token.name_any());
    let api: Api<CargoToken> = Api::namespaced(context.client.clone(), &namespace);
    // A merge patch keeps what it does not name, so what shall go is named with null.
    let patch = json!({
        "metadata": { "resourceVersion": token.resource_version(), "uid": token.uid() },
        "status": {
            "conditions": status.conditions,
            "observedGeneration": status.observed_generation,
            "secretName": status.secret_name,
            "expiresAt": status.expires_at,
            "issued": (!status.issued.is_empty()).then_some(&status.issued),
        }
    });
    let params = PatchParams { field_manager: Some(FieldManager::Status.as_str().into()), ..PatchParams::default() };
    match api.patch_status(&name, &params, &Patch::Merge(&patch)).await {
        Ok(written) => Ok(written),
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            Err(Error::Conflict { object: format!("CargoToken {namespace}/{name}") })
        }
        Err(error) => Err(Error::kube(format!("write the status of CargoToken {namespace}/{name}"), error)),
    }
}

/// Makes an error of a pass out of one of the admin API.
pub(super) fn admin_failed(registry: &str, error: &AdminError) -> Error {
    Error::RegistryApi { registry: registry.to_owned(), message: error.to_string() }
}

/// How long an unchanged token is taken to be known to the registry before it is told again: a bucket may have been restored.
pub(super) const TELL_AGAIN_SECS: i64 = 600;

/// Whether what was told then is still taken to hold.
pub(super) fn still_told(told_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(told_at).as_secs() < TELL_AGAIN_SECS
}
