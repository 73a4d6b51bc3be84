//! Reads all that a token depends on, each object by name. Writes nothing.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::crd::registry::CargoRegistry;
use crate::crd::token::CargoToken;
use crate::error::{Error, Result};
use crate::names::ChildNames;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// The registry that the token is for.
    pub(super) registry: Option<CargoRegistry>,
    /// The registry's Secret with the admin credential and the authority of its certificate.
    pub(super) internal: Option<Secret>,
    /// The Secret that the token goes into, whoever it belongs to.
    pub(super) secret: Option<Secret>,
}

/// Name of the Secret that this token goes into.
pub(super) fn secret_name(token: &CargoToken) -> String {
    token.spec.secret_name.clone().unwrap_or_else(|| token.name_any())
}

/// Reads the registry, its internal Secret and the token's Secret.
pub(super) async fn observe(context: &Arc<Context>, token: &CargoToken) -> Result<Observed> {
    let namespace = token.namespace().unwrap_or_default();
    let registry_name = &token.spec.registry_ref.name;
    let internal_name = ChildNames::of(registry_name).internal();
    let secret_name = secret_name(token);
    let registries: Api<CargoRegistry> = Api::namespaced(context.client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let (registry, internal, secret) =
        tokio::join!(registries.get_opt(registry_name), secrets.get_opt(&internal_name), secrets.get_opt(&secret_name));
    let failed = |kind: &str, name: &str| format!("read {kind} {namespace}/{name}");
    Ok(Observed {
        registry: registry.map_err(|e| Error::kube(failed("CargoRegistry", registry_name), e))?,
        internal: internal.map_err(|e| Error::kube(failed("Secret", &internal_name), e))?,
        secret: secret.map_err(|e| Error::kube(failed("Secret", &secret_name), e))?,
    })
}
