//! Registries as the operator builds them, from specs as users write them.

use anyhow::{Context, Result, bail};
use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};
use supercargo_operator::{
    bucket::{Credentials, target::StaticKeys},
    config::{Cli, Command, Config},
    crd::registry::CargoRegistry,
    registry::{
        build::build,
        internal::{Internal, material},
        model::{Observed, Prepared, Referenced, Resources},
        validate::validate,
    },
};

/// What the operator would apply for `demo/company` with this spec.
pub(crate) fn built(spec: &Value) -> Result<Resources<Prepared>> {
    let object = json!({
        "apiVersion": "supercargo.dev/v1alpha1",
        "kind": "CargoRegistry",
        "metadata": {"name": "company", "namespace": "demo", "uid": "00000000-0000-4000-8000-000000000001", "generation": 1},
        "spec": spec,
    });
    let registry: CargoRegistry = serde_json::from_value(object).context("a CargoRegistry")?;
    let validated = match validate(&registry, &observed(spec), &operator_config()?, internal()?) {
        Ok(validated) => validated,
        Err(problems) => bail!("the operator refuses {spec}: {problems:?}"),
    };
    Ok(build(&validated))
}

/// Everything that a spec may point at, found.
fn observed(spec: &Value) -> Observed {
    let s3 = spec.pointer("/storage/s3");
    let keys = StaticKeys { access_key_id: "id".into(), secret_access_key: "secret".into(), session_token: None };
    let credentials = Credentials::Static { source: "Secret s3".to_owned(), keys };
    let mut observed = Observed::default();
    if s3.is_some_and(|s3| s3.get("credentialsSecretRef").is_some()) {
        observed.credentials = Referenced::Found { value: credentials, hash: "hash".to_owned() };
    }
    if s3.is_some_and(|s3| s3.get("caBundle").is_some()) {
        observed.ca_bundle = Referenced::Found { value: b"PEM".to_vec(), hash: "hash".to_owned() };
    }
    observed
}

/// The internal Secret of `demo/company`.
pub(crate) fn internal() -> Result<Internal> {
    Ok(material("company", "demo", None, Timestamp::now(), |bytes| bytes.fill(7))?)
}

fn operator_config() -> Result<Config> {
    match Cli::try_parse_from(["supercargo-operator", "run"])?.command {
        Command::Run(config) => Ok(*config),
        _ => bail!("`run` is another command"),
    }
}

/// A spec with every field that reaches the registry's configuration.
pub(crate) fn full_spec() -> Value {
    json!({
        "storage": {"s3": {
            "bucket": "crates",
            "region": "eu-west-1",
            "endpoint": "https://s3.example.com:9000",
            "publicEndpoint": "https://files.example.com",
            "prefix": "teams/one",
            "forcePathStyle": true,
            "credentialsSecretRef": {"name": "s3"},
            "caBundle": {"configMapKeyRef": {"name": "authorities", "key": "ca.crt"}},
        }},
        "replicas": 3,
        "cache": {"diskSize": "8Gi"},
        "expose": {"url": "https://cargo.example.com/crates"},
        "access": {"visibility": "Public"},
        "limits": {
            "crateBytesMax": 52_428_800,
            "unpackedBytesMax": 104_857_600,
            "entriesMax": 1000,
            "connectionsMax": 64,
            "bodyReadSeconds": 60,
            "drainSeconds": 10,
        },
    })
}

/// The specs of all tests: everything, as little as possible, ambient credentials, a volume.
pub(crate) fn specs() -> Vec<Value> {
    vec![
        full_spec(),
        json!({"storage": {"s3": {"bucket": "crates", "credentialsSecretRef": {"name": "s3"}}}}),
        json!({"storage": {"s3": {"bucket": "crates", "region": "us-east-2"}}}),
        json!({"storage": {"volume": {"size": "1Gi"}}, "access": {"visibility": "Private"}}),
    ]
}
