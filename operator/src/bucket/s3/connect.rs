//! How the client is made: TLS trust, credentials, deadlines, retries.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    SharedHttpClient,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;

use super::super::failure::Failure;
use super::super::target::{Credentials, Target};

const CONNECT: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_secs(8);
const OPERATION: Duration = Duration::from_secs(15);

pub(super) async fn client(target: &Target) -> Result<Client, Failure> {
    let http = http_client(target)?;
    let mut builder = Builder::new();
    builder.set_endpoint_url(target.endpoint.clone());
    let config = builder
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(target.region.clone()))
        .force_path_style(target.force_path_style)
        .credentials_provider(credentials(target).await)
        .http_client(http)
        .app_name(AppName::new("supercargo-operator").expect("letters and a hyphen are an app name"))
        // Stores other than AWS often refuse the trailers that the default would add.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(timeouts())
        .build();
    Ok(Client::from_conf(config))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(ATTEMPT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build()
}

fn http_client(target: &Target) -> Result<SharedHttpClient, Failure> {
    let builder = aws_smithy_http_client::Builder::new();
    if let Some(endpoint) = &target.endpoint {
        let uri: http::Uri = endpoint
            .parse()
            .map_err(|e| Failure::Settings(format!("storage.s3.endpoint {endpoint:?} is no URL: {e}")))?;
        match uri.scheme_str() {
            Some("http") => return Ok(builder.build_http()),
            Some("https") => {}
            _ => {
                let why = format!("storage.s3.endpoint {endpoint:?} has to begin with http:// or https://");
                return Err(Failure::Settings(why));
            }
        }
    }
    let trust = match &target.ca_bundle {
        Some(pem) => {
            check_ca_bundle(pem)?;
            TrustStore::empty().with_pem_certificate(pem.clone())
        }
        None => TrustStore::default(),
    };
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|e| Failure::Settings(format!("TLS cannot be set up: {e}")))?;
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https())
}

/// The HTTP client panics on what it cannot parse, so look first.
fn check_ca_bundle(pem: &[u8]) -> Result<(), Failure> {
    let broken = |why: String| Failure::Settings(format!("storage.s3.caBundle cannot be used: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| broken(e.to_string()))?;
        roots.add(certificate).map_err(|e| broken(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(broken("it holds no PEM certificate (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(())
}

async fn credentials(target: &Target) -> SharedCredentialsProvider {
    match &target.credentials {
        Credentials::Static { keys, .. } => SharedCredentialsProvider::new(aws_credential_types::Credentials::new(
            keys.access_key_id.clone(),
            keys.secret_access_key.expose_secret(),
            keys.session_token.as_ref().map(|t| t.expose_secret().to_owned()),
            None,
            "Secret",
        )),
        Credentials::Ambient => {
            // STS and the metadata service are not behind the S3 endpoint, so they get a client with the usual trust.
            let http =
                aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
            let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
                .region(Region::new(target.region.clone()))
                .http_client(http)
                .timeout_config(timeouts())
                .load()
                .await;
            config.credentials_provider().expect("`defaults` installs the default chain")
        }
    }
}
