//! The Secret as it has to be. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::files::files;
use super::mint::Token;
use super::observe::secret_name;
use super::validate::ValidatedToken;
use crate::crd::token::CargoToken;
use crate::names;

/// The Secret of `token` with `value` in it.
pub(super) fn secret(token: &CargoToken, valid: &ValidatedToken, value: &Token) -> Secret {
    let registry = &token.spec.registry_ref.name;
    let labels = BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "supercargo-token".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), token.name_any()),
        ("app.kubernetes.io/managed-by".to_owned(), names::MANAGED_BY.to_owned()),
        (names::TOKEN_LABEL.to_owned(), token.name_any()),
        (names::REGISTRY_LABEL.to_owned(), registry.clone()),
    ]);
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(token)),
            namespace: token.namespace(),
            labels: Some(labels),
            owner_references: names::owner_reference(token).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(files(registry, &valid.index_url, value)),
        ..Secret::default()
    }
}

/// Whether the live Secret is already so. Labels, annotations and keys of others do not count.
pub(super) fn is_as_wanted(live: &Secret, wanted: &Secret) -> bool {
    let labels = live.metadata.labels.clone().unwrap_or_default();
    let data = live.data.clone().unwrap_or_default();
    wanted.metadata.labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v))
        && wanted.data.iter().flatten().all(|(k, v)| data.get(k) == Some(v))
}
