//! Minimal objects for the unit tests of this folder.

use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::internal::{Internal, material};
use super::model::{Observed, Referenced};
use super::validate::{ValidatedRegistry, validate};
use crate::bucket::{Credentials, StaticKeys};
use crate::config::{Cli, Command, Config};
use crate::crd::registry::CargoRegistry;

pub(super) const UID: &str = "4be5b1a8-0d9a-4b4c-8d3e-000000000001";

pub(super) fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a timestamp")
}

pub(super) fn config() -> Config {
    let Ok(Cli { command: Command::Run(config) }) = Cli::try_parse_from(["supercargo-operator", "run"]) else {
        panic!("the defaults parse");
    };
    *config
}

/// `demo/company` with this spec, as an API server would hand it out.
pub(super) fn registry(spec: Value) -> CargoRegistry {
    named("company", spec)
}

pub(super) fn named(name: &str, spec: Value) -> CargoRegistry {
    let object = json!({
        "apiVersion": "supercargo.dev/v1alpha1",
        "kind": "CargoRegistry",
        "metadata": { "name": name, "namespace": "demo", "uid": UID, "generation": 3, "resourceVersion": "7" },
        "spec": spec,
    });
    serde_json::from_value(object).expect("a CargoRegistry")
}

pub(super) fn on_s3() -> Value {
    json!({ "storage": { "s3": {
        "bucket": "crates",
        "endpoint": "http://s3.demo.svc:7070",
        "forcePathStyle": true,
        "credentialsSecretRef": { "name": "s3" },
    } } })
}

pub(super) fn on_volume() -> Value {
    json!({ "storage": { "volume": { "size": "10Gi" } } })
}

/// Everything that `on_s3` points at is there; none of our children is.
pub(super) fn found() -> Observed {
    let keys = StaticKeys { access_key_id: "id".into(), secret_access_key: "hush-hush".into(), session_token: None };
    let value = Credentials::Static { source: "Secret \"s3\" in namespace demo".into(), keys };
    Observed { credentials: Referenced::Found { value, hash: "c0ffee".into() }, ..Observed::default() }
}

/// The same bytes at every call, but for the certificate, whose key the library draws by itself.
pub(super) fn internal() -> Internal {
    material("company", "demo", None, now(), |bytes| bytes.fill(7)).expect("a certificate")
}

pub(super) fn valid(registry: &CargoRegistry) -> ValidatedRegistry {
    let volume = registry.spec.storage.volume.is_some();
    let observed = if volume { Observed::default() } else { found() };
    validate(registry, &observed, &config(), internal()).unwrap_or_else(|problems| panic!("{problems:?}"))
}
