//! A CargoToken is being deleted: revoke what it ever handed out, then let it go.
//!
//! # When the registry cannot be asked
//! | the CargoRegistry | then |
//! |---|---|
//! | does not exist | nobody is left to ask: the object goes at once. A Warning event names the hash, since a registry that is later made over the same bucket would take the token again |
//! | is being deleted | it is asked for [`GRACE`] after the deletion of the token, then as above |
//! | exists | it is asked until it answers: a token must not outlive its object unseen. Delete the CargoRegistry, or mend it |
//!
//! A token that was never announced in `status.issued` was never handed to a registry, so there is nothing to ask.

use std::time::Duration;

use kube::{Api, Resource, ResourceExt};
use kube_runtime::controller::Action;
use kube_runtime::events::EventType;

use super::observe::observe;
use super::{Tokens, apply, report, validate};
use crate::context::Context;
use crate::crd::conditions::{READY, Truth};
use crate::crd::registry::CargoRegistry;
use crate::crd::token::CargoToken;
use crate::error::{Error, Result};
use crate::{finalizer, names};

/// How long a registry that is being deleted itself is asked.
const GRACE: Duration = Duration::from_secs(60);

pub(super) async fn cleanup(tokens: &Tokens, token: &CargoToken, context: &std::sync::Arc<Context>) -> Result<Action> {
    if !finalizer::is_present(token, names::TOKEN_FINALIZER) {
        return Ok(Action::await_change());
    }
    let issued = token.status.as_ref().map(|s| s.issued.clone()).unwrap_or_default();
    if !issued.is_empty() {
        let observed = observe(context, token).await?;
        match observed.registry {
            None => abandoned(context, token, "its CargoRegistry does not exist any more").await,
            Some(registry) => {
                if let Err(error) = revoke_all(tokens, token, &registry, observed.internal).await {
                    if !may_go(token, &registry, context) {
                        tell(context, token, &error).await?;
                        return Err(error);
                    }
                    abandoned(
                        context,
                        token,
                        &format!("its CargoRegistry is being deleted and does not answer ({error})"),
                    )
                    .await;
                }
            }
        }
    }
    let api: Api<CargoToken> = Api::namespaced(context.client.clone(), &token.namespace().unwrap_or_default());
    finalizer::remove(&api, token, names::TOKEN_FINALIZER).await?;
    Ok(Action::await_change())
}

async fn revoke_all(
    tokens: &Tokens,
    token: &CargoToken,
    registry: &CargoRegistry,
    internal: Option<k8s_openapi::api::core::v1::Secret>,
) -> Result<()> {
    let name = format!("{}/{}", token.namespace().unwrap_or_default(), registry.name_any());
    let no_credential =
        || Error::RegistryApi { registry: name.clone(), message: "its admin credential is not there".into() };
    let admin = validate::admin_of(registry, internal).ok_or_else(no_credential)?;
    let api = tokens.admin(token, &admin).map_err(|e| apply::admin_failed(&name, &e))?;
    for issued in token.status.iter().flat_map(|s| &s.issued) {
        api.revoke_token(&issued.sha256).await.map_err(|e| apply::admin_failed(&name, &e))?;
    }
    Ok(())
}

fn may_go(token: &CargoToken, registry: &CargoRegistry, context: &Context) -> bool {
    let Some(deleted_at) = &token.meta().deletion_timestamp else { return false };
    let waited = Duration::try_from((context.now)().duration_since(deleted_at.0)).unwrap_or_default();
    registry.meta().deletion_timestamp.is_some() && waited >= GRACE
}

async fn abandoned(context: &Context, token: &CargoToken, why: &str) {
    let hashes: Vec<&str> = token.status.iter().flat_map(|s| &s.issued).map(|t| t.sha256.as_str()).collect();
    let note = format!(
        "not revoked, because {why}. If a registry is made over the same bucket again, revoke there: supercargo-registry token revoke {}",
        hashes.join(" ")
    );
    tracing::warn!(token = token.name_any(), why, "token given up without being revoked");
    context.event(&token.object_ref(&()), EventType::Warning, "NotRevoked", "Revoke", note).await;
}

async fn tell(context: &Context, token: &CargoToken, error: &Error) -> Result<()> {
    let message = format!("waiting to be deleted until the token is revoked: {error}");
    let finding = report::finding(READY, Truth::False, "Revoking", message);
    let status = report::with(token, [finding], (context.now)());
    apply::write_status(context, token, &status).await.map(drop)
}
