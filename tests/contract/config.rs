//! What the operator renders is what the registry reads.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use supercargo_operator::names::{INTERNAL_PORT, PUBLIC_PORT};
use supercargo_registry::{
    access::Visibility,
    config::{Backend, Config, S3},
};

use crate::fixture::{built, full_spec, specs};

/// No spec in these tests gives a pod less: the operator's default.
const MEMORY_LIMIT_MIN: u64 = 256 << 20;

/// The configuration that a pod of this registry gets, as its server understands it.
pub(crate) fn rendered(spec: &serde_json::Value) -> Result<Config> {
    let data = built(spec)?.config_map.data.context("a ConfigMap without data")?;
    let text = data.get("registry.toml").context("a ConfigMap without registry.toml")?;
    // Nothing in the environment: the file alone has to do.
    Config::from_sources(Some(text), Vec::new()).with_context(|| format!("the registry refuses\n{text}"))
}

#[test]
fn every_registry_can_read_its_configuration() -> Result<()> {
    for spec in specs() {
        let config = rendered(&spec)?;
        ensure!(config.public.listen.port() == PUBLIC_PORT, "{spec}: public port {}", config.public.listen);
        ensure!(config.internal.listen.port() == INTERNAL_PORT, "{spec}: internal port {}", config.internal.listen);
        for listener in [&config.public, &config.internal] {
            ensure!(listener.listen.ip().is_unspecified(), "{spec}: {} is not reached by other pods", listener.listen);
        }
        ensure!(config.internal.tls.is_some(), "{spec}: the admin credential would travel in the clear");
        let kept = (config.cache.index_bytes + config.cache.download_bytes) as u64;
        ensure!(
            kept <= MEMORY_LIMIT_MIN / 2,
            "{spec}: {kept} bytes in memory, and the pod may be killed at twice that"
        );
        ensure!(config.admin_token_file.is_some(), "{spec}: the operator could not make tokens");
    }
    Ok(())
}

/// The two read URLs by themselves: a registry does not start with one that it refuses, so the operator refuses those before.
#[test]
fn what_the_operator_takes_for_a_url_so_does_the_registry() {
    for (text, is_url) in [
        ("https://Crates.example.com", true),
        ("https://crates.example.com:443/team", true),
        ("http://crates.example.com", true),
        ("http://10.0.0.1:9000", true),
        ("https://[fd00::1]", true),
        ("https://[fd00::1]:9000", true),
        ("crates.example.com", false),
        ("ftp://crates.example.com", false),
        ("https://", false),
        ("https://:443", false),
        ("https://crates.example.com:", false),
        ("https://crates.example.com:65536", false),
        ("https://user@crates.example.com", false),
        ("https://user:p/w@crates.example.com", false),
        ("https://crates.example.com?a", false),
        ("https://crates.example.com/a#b", false),
        ("https://crates.example.com/a b", false),
        ("https://crates.example.com/x.git", false),
    ] {
        let operator = supercargo_operator::registry::base_url::BaseUrl::parse(text);
        let registry = supercargo_registry::config::BaseUrl::parse(text).ok();
        let operator = operator.as_ref().map(|url| (url.authority().0.to_owned(), url.authority().1));
        assert_eq!(operator, registry.map(|url| url.host()), "{text}");
        assert_eq!(operator.is_some(), is_url, "{text}");
    }
}

#[test]
fn every_field_of_the_spec_arrives() -> Result<()> {
    let config = rendered(&full_spec())?;
    let Backend::S3(s3) = &config.storage.backend else { anyhow::bail!("not a bucket: {:?}", config.storage) };
    let S3 { bucket, region, endpoint, public_endpoint, force_path_style, ca_bundle_file, credentials_dir } = s3;
    assert_eq!((bucket.as_str(), region.as_str()), ("crates", "eu-west-1"));
    assert_eq!(endpoint.as_deref(), Some("https://s3.example.com:9000"));
    assert_eq!(public_endpoint.as_deref(), Some("https://files.example.com"));
    assert!(force_path_style);
    assert_eq!(ca_bundle_file, &Some(PathBuf::from("/etc/supercargo/s3-ca/ca.crt")));
    assert_eq!(credentials_dir, &Some(PathBuf::from("/etc/supercargo/s3")));
    assert_eq!(config.storage.prefix.to_string(), "teams/one/");
    assert_eq!(config.public_url.map(|url| url.to_string()).as_deref(), Some("https://cargo.example.com/crates"));
    assert_eq!(config.visibility, Visibility::Public);
    assert_eq!(config.limits.crate_bytes_max, 52_428_800);
    assert_eq!(config.limits.unpacked_bytes_max, 104_857_600);
    assert_eq!(config.limits.entries_max, 1000);
    assert_eq!(config.limits.connections_max, 64);
    assert_eq!(config.limits.body_read, Duration::from_secs(60));
    assert_eq!(config.limits.drain, Duration::from_secs(10));
    let disk = config.cache.disk.context("no disk cache")?;
    assert_eq!((disk.directory, disk.bytes), (PathBuf::from("/var/cache/supercargo"), 7 << 30));
    Ok(())
}

/// The address comes from the environment of each pod.
#[test]
fn replicas_on_a_bucket_reach_each_other() -> Result<()> {
    let config = rendered(&full_spec())?;
    let replicas = config.replicas;
    assert_eq!(replicas.credential_file, Some(PathBuf::from("/etc/supercargo/internal/peer-token")));
    assert_eq!(replicas.ca_bundle_file, Some(PathBuf::from("/etc/supercargo/internal/ca.crt")));
    let name = replicas.tls_server_name.context("no name to look for in the others' certificates")?;
    ensure!(name.contains("-internal."), "{name}");
    Ok(())
}

#[test]
fn without_a_secret_the_ambient_credentials_are_used() -> Result<()> {
    let Backend::S3(s3) = rendered(&specs()[2])?.storage.backend else { anyhow::bail!("not a bucket") };
    assert_eq!((s3.credentials_dir, s3.ca_bundle_file, s3.region.as_str()), (None, None, "us-east-2"));
    Ok(())
}

#[test]
fn a_volume_is_a_directory() -> Result<()> {
    let config = rendered(&specs()[3])?;
    assert_eq!(config.storage.backend, Backend::File { directory: PathBuf::from("/var/lib/supercargo") });
    assert_eq!(config.visibility, Visibility::Private);
    Ok(())
}
