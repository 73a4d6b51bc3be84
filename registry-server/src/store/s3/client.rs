//! The SDK's client, set up for S3-compatible servers.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::config::{S3Config, S3ConfigError, S3Credentials};
use super::credentials::DirectoryCredentials;

/// Idle connections are dropped before servers drop them: a request on a connection that is just being closed has an unknown outcome.
const POOL_IDLE: Duration = Duration::from_secs(10);
/// How often what is safe to repeat is sent at most.
const ATTEMPTS_MAX: u32 = 3;

/// Builds a client with connections of its own. `witness`: 0 for the one that serves; another number makes a name with several addresses
/// be reached at another of them.
pub(super) async fn build(
    config: &S3Config,
    directory: Option<&DirectoryCredentials>,
    witness: usize,
) -> Result<Client, S3ConfigError> {
    let bundle = config.ca_bundle()?;
    let http = http_client(bundle.clone(), trusts_system(config, bundle.is_some()), witness)?;
    let mut builder = match directory {
        // The provider itself knows when to look again.
        Some(directory) => Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(directory.clone())
            .identity_cache(IdentityCache::no_cache()),
        None => {
            // Who hands out credentials is another server than the endpoint; the bundle may be about it, or not.
            let system = bundle.is_none() || has_system_roots();
            let ambient = aws_config::defaults(BehaviorVersion::v2026_01_12())
                .region(Region::new(config.region.clone()))
                .http_client(http_client(bundle, system, witness)?)
                .load()
                .await;
            Builder::from(&ambient)
        }
    };
    builder.set_endpoint_url(config.endpoint.clone());
    let stall = StalledStreamProtectionConfig::enabled().grace_period(config.timeouts.download_stall).build();
    let config = builder
        .region(Region::new(config.region.clone()))
        .http_client(http)
        .force_path_style(config.force_path_style)
        // The default adds a CRC trailer (aws-chunked), which some servers refuse and some store.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .timeout_config(timeouts(config, 0))
        .stalled_stream_protection(stall)
        .build();
    Ok(Client::from_conf(config))
}

/// Whether the system's authorities are trusted for the endpoint. A bundle says whom to trust, and nobody else is.
fn trusts_system(config: &S3Config, has_bundle: bool) -> bool {
    !has_bundle && !config.is_plain_http()
}

/// Finds what [`build`] would find wrong.
pub(super) fn check(config: &S3Config) -> Result<(), S3ConfigError> {
    let bundle = config.ca_bundle()?;
    let system = trusts_system(config, bundle.is_some());
    http_client(bundle, system, 0).map(drop)
}

/// What one operation with a request body of `len` bytes overrides: its deadline, and whether it may be sent twice.
pub(super) fn for_put(config: &S3Config, len: u64, repeat: bool) -> Builder {
    let retries =
        if repeat { RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX) } else { RetryConfig::disabled() };
    Builder::new().retry_config(retries).timeout_config(timeouts(config, len))
}

fn timeouts(config: &S3Config, len: u64) -> TimeoutConfig {
    let body = Duration::from_secs(len / config.timeouts.upload_bytes_per_sec_min.max(1));
    TimeoutConfig::builder()
        .connect_timeout(config.timeouts.connect)
        .operation_attempt_timeout(config.timeouts.attempt + body)
        .build()
}

/// A client that trusts the bundle, and the system's authorities if `system` says so: the HTTP client does by default.
fn http_client(bundle: Option<Vec<u8>>, system: bool, witness: usize) -> Result<SharedHttpClient, S3ConfigError> {
    if system && !has_system_roots() {
        return Err(S3ConfigError::NoRoots);
    }
    let mut trust = TrustStore::empty().with_native_roots(system);
    if let Some(pem) = bundle {
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("a trust store is all that is set");
    Ok(aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(POOL_IDLE)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_with_resolver(Addresses { witness }))
}

/// The system's resolver, turned by `witness`: two witnesses talk to two of the addresses behind a name, if it has two.
#[derive(Debug, Clone)]
struct Addresses {
    witness: usize,
}

impl ResolveDns for Addresses {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            Ok(turned(found.map(|address| address.ip()).collect(), self.witness))
        })
    }
}

/// The addresses in the order in which a witness tries them. Witness 0 is the server, which leaves them as the resolver gave them.
pub(super) fn turned(mut addresses: Vec<IpAddr>, witness: usize) -> Vec<IpAddr> {
    if witness > 0 {
        // Resolvers shuffle; witnesses have to agree on who is where.
        addresses.sort_unstable();
        addresses.dedup();
        let turn = witness % addresses.len().max(1);
        addresses.rotate_left(turn);
    }
    addresses
}

/// Whether the system has certificate authorities: the HTTP client asserts that it has when told to use them.
fn has_system_roots() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| !rustls_native_certs::load_native_certs().certs.is_empty())
}

impl S3Credentials {
    pub(super) fn directory(&self) -> Option<DirectoryCredentials> {
        match self {
            Self::Directory(path) => Some(DirectoryCredentials::new(path)),
            Self::Ambient => None,
        }
    }
}
