//! `registry.toml`: the configuration of `supercargo-registry`, serialised from a struct that mirrors its keys.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::metadata;
use super::pod::{
    CA_FILE, CACHE_DIRECTORY, CREDENTIALS_DIRECTORY, DATA_DIRECTORY, INTERNAL_DIRECTORY, SPOOL_DIRECTORY,
};
use crate::crd::registry::Visibility;
use crate::names::{ChildNames, INTERNAL_PORT, PUBLIC_PORT, internal_dns_names};
use crate::registry::internal::{ADMIN_TOKEN, CERTIFICATE, PEER_TOKEN, PRIVATE_KEY, TRUSTED};
use crate::registry::validate::{DRAIN_SECONDS, Storage, ValidatedRegistry};
use crate::registry::{disk_cache, memory, spool};

/// Key of the ConfigMap, and name of the file in the pod.
pub(super) const FILE: &str = "registry.toml";

pub(super) fn build(registry: &ValidatedRegistry) -> ConfigMap {
    let text = toml::to_string(&Config::of(registry)).expect("tables of strings, numbers and booleans serialise");
    ConfigMap {
        metadata: metadata(registry, &ChildNames::of(&registry.name).config()),
        data: Some(BTreeMap::from([(FILE.to_owned(), text)])),
        ..ConfigMap::default()
    }
}

#[derive(Serialize)]
struct Config {
    public: Public,
    internal: InternalListener,
    admin: Admin,
    storage: StorageSection,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3: Option<S3Section>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<Replicas>,
    access: Access,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Cache>,
    limits: Limits,
    log: Log,
}

#[derive(Serialize)]
struct Public {
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize)]
struct InternalListener {
    listen: String,
    tls_certificate: String,
    tls_private_key: String,
}

#[derive(Serialize)]
struct Admin {
    token_file: String,
}

#[derive(Serialize)]
struct StorageSection {
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
}

#[derive(Serialize)]
struct File {
    directory: &'static str,
}

#[derive(Serialize)]
struct S3Section {
    bucket: String,
    region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_endpoint: Option<String>,
    force_path_style: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_bundle_file: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_dir: Option<&'static str>,
}

/// How replicas reach each other. Each one's own address comes from the downward API: see [`super::pod`].
#[derive(Serialize)]
struct Replicas {
    credential_file: String,
    ca_bundle_file: String,
    tls_server_name: Option<String>,
}

#[derive(Serialize)]
struct Access {
    visibility: &'static str,
}

#[derive(Serialize)]
struct Cache {
    #[serde(skip_serializing_if = "Option::is_none")]
    index_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<i64>,
}

#[derive(Serialize)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    crate_bytes_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unpacked_bytes_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_read_secs: Option<i64>,
    drain_secs: i64,
    spool_dir: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool_bytes_max: Option<i64>,
}

#[derive(Serialize)]
struct Log {
    format: &'static str,
}

fn cache(registry: &ValidatedRegistry) -> Option<Cache> {
    let (memory, disk) = (memory::shares(&registry.limits), &registry.disk_cache);
    (memory.is_some() || disk.is_some()).then(|| Cache {
        index_bytes: memory.map(|shares| shares.index_bytes),
        download_bytes: memory.map(|shares| shares.download_bytes),
        directory: disk.as_ref().map(|_| CACHE_DIRECTORY),
        disk_bytes: disk.as_ref().and_then(disk_cache::bytes_max),
    })
}

impl Config {
    fn of(registry: &ValidatedRegistry) -> Config {
        let limits = &registry.client_limits;
        let (kind, prefix, file, s3) = match &registry.storage {
            Storage::Volume(_) => ("file", String::new(), Some(File { directory: DATA_DIRECTORY }), None),
            Storage::S3(s3) => {
                let section = S3Section {
                    bucket: s3.spec.bucket.clone(),
                    region: s3.spec.region.clone(),
                    endpoint: s3.spec.endpoint.clone(),
                    public_endpoint: s3.spec.public_endpoint.clone(),
                    force_path_style: s3.spec.force_path_style,
                    ca_bundle_file: s3.spec.ca_bundle.is_some().then_some(CA_FILE),
                    credentials_dir: s3.spec.credentials_secret_ref.is_some().then_some(CREDENTIALS_DIRECTORY),
                };
                ("s3", s3.spec.prefix.clone(), None, Some(section))
            }
        };
        Config {
            public: Public { listen: format!("0.0.0.0:{PUBLIC_PORT}"), url: registry.url.clone() },
            internal: InternalListener {
                listen: format!("0.0.0.0:{INTERNAL_PORT}"),
                tls_certificate: format!("{INTERNAL_DIRECTORY}/{CERTIFICATE}"),
                tls_private_key: format!("{INTERNAL_DIRECTORY}/{PRIVATE_KEY}"),
            },
            admin: Admin { token_file: format!("{INTERNAL_DIRECTORY}/{ADMIN_TOKEN}") },
            storage: StorageSection { kind, prefix },
            file,
            replicas: s3.is_some().then(|| Replicas {
                credential_file: format!("{INTERNAL_DIRECTORY}/{PEER_TOKEN}"),
                ca_bundle_file: format!("{INTERNAL_DIRECTORY}/{TRUSTED}"),
                // Replicas are reached by their addresses, which no certificate names.
                tls_server_name: internal_dns_names(&registry.name, &registry.namespace).into_iter().next(),
            }),
            s3,
            access: Access {
                visibility: match registry.visibility {
                    Visibility::Private => "private",
                    Visibility::Public => "public",
                },
            },
            cache: cache(registry),
            limits: Limits {
                crate_bytes_max: limits.crate_bytes_max,
                unpacked_bytes_max: limits.unpacked_bytes_max,
                entries_max: limits.entries_max,
                connections_max: limits.connections_max,
                body_read_secs: limits.body_read_seconds,
                drain_secs: limits.drain_seconds.unwrap_or(DRAIN_SECONDS),
                spool_dir: SPOOL_DIRECTORY,
                spool_bytes_max: spool::bytes_max(&registry.limits),
            },
            log: Log { format: "json" },
        }
    }
}
