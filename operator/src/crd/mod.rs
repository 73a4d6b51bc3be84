//! The custom resources of group `supercargo.dev`, version `v1alpha1`. Types and schema rules, no behaviour.
#![allow(unreachable_pub, reason = "the derive of KubeSchema repeats each struct inside a function")]

use kube::CustomResourceExt;

pub mod bucket;
pub mod conditions;
pub mod maintenance;
pub mod registry;
pub mod token;

/// API group of every kind here.
pub const GROUP: &str = "supercargo.dev";
/// The only version served so far.
pub const VERSION: &str = "v1alpha1";

/// The CustomResourceDefinitions of all kinds here, by file name (`PLURAL.GROUP.yaml`), as YAML ready to apply.
///
/// # Errors
/// Serialising failed: a defect of this program.
pub fn yaml() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    [registry::CargoRegistry::crd(), token::CargoToken::crd()]
        .into_iter()
        .map(|crd| {
            let file = format!("{}.{}.yaml", crd.spec.names.plural, crd.spec.group);
            Ok((file, serde_saphyr::to_string(&crd)?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
