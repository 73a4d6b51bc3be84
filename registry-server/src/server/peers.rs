//! Notices to the other replicas, over their internal listeners.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;

use super::StartError;
use crate::config::Replicas;
use crate::http::credential::FileCredential;
use crate::replicas::{Ack, Notice, Peers};

/// How long one notice may take. The writer's own patience is shorter; this is for what it leaves behind.
const NOTICE_MAX: Duration = Duration::from_secs(1);
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// Idle connections are kept for longer than there is between two changes in a busy registry.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// An acknowledgement is about a hundred bytes.
const ACK_BYTES_MAX: usize = 4096;

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The way to the other replicas.
pub(super) struct HttpPeers {
    credential: FileCredential,
    ca_bundle: Option<PathBuf>,
    server_name: Option<ServerName<'static>>,
    client: ArcSwap<Trusting>,
}

/// A client, and the authorities that it trusts.
struct Trusting {
    pem: Option<Vec<u8>>,
    client: HttpClient,
}

impl HttpPeers {
    /// `None` without a credential: then nobody is told anything.
    ///
    /// # Errors
    /// The credential, the authorities or the server name cannot be used.
    pub(super) fn load(config: &Replicas) -> Result<Option<Self>, StartError> {
        let Some(file) = &config.credential_file else { return Ok(None) };
        let credential =
            FileCredential::load(file).map_err(|(path, reason)| StartError::PeerCredential { path, reason })?;
        let unusable = |reason: String| StartError::PeerTls { reason };
        let server_name = config.tls_server_name.clone().map(ServerName::try_from).transpose();
        let server_name = server_name.map_err(|_| unusable("replicas.tls_server_name is not a DNS name".into()))?;
        let ca_bundle = config.ca_bundle_file.clone();
        let client = Trusting::load(ca_bundle.as_ref(), server_name.as_ref()).map_err(unusable)?;
        Ok(Some(Self { credential, ca_bundle, server_name, client: ArcSwap::from_pointee(client) }))
    }

    async fn send(&self, address: &str, notice: &Notice) -> Result<Ack, String> {
        let scheme = if self.ca_bundle.is_some() { "https" } else { "http" };
        let secret = self.credential.read()?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", secret.expose_secret())).map_err(|error| error.to_string())?;
        bearer.set_sensitive(true);
        let body = serde_json::to_vec(notice).expect("a notice has string keys only");
        let request = Request::post(format!("{scheme}://{address}/peer/v1/notices"))
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let client = self.client.load().client.clone();
        let response = client.request(request).await.map_err(|error| whole(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(format!("it answered {status}"));
        }
        let body = Limited::new(response.into_body(), ACK_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }

    /// Takes authorities that were renewed on disk.
    fn trust_again(&self) {
        let pem = self.ca_bundle.as_ref().and_then(|file| std::fs::read(file).ok());
        if pem == self.client.load().pem {
            return;
        }
        match Trusting::load(self.ca_bundle.as_ref(), self.server_name.as_ref()) {
            Ok(client) => self.client.store(Arc::new(client)),
            Err(reason) => tracing::error!(reason, "the changed replicas.ca_bundle_file cannot be used"),
        }
    }
}

/// An error with what caused it: hyper's outermost says nothing.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Trusting {
    fn load(ca_bundle: Option<&PathBuf>, server_name: Option<&ServerName<'static>>) -> Result<Self, String> {
        let read =
            |file: &PathBuf| std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
        let pem = ca_bundle.map(read).transpose()?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_deref().unwrap_or_default()) {
            let certificate = certificate.map_err(|error| format!("replicas.ca_bundle_file is not PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("replicas.ca_bundle_file: {error}"))?;
        }
        if ca_bundle.is_some() && roots.is_empty() {
            return Err("replicas.ca_bundle_file holds no certificate".into());
        }
        // The provider is named, never taken from the process: with two compiled in, rustls would panic here.
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match server_name {
            Some(name) => builder
                .with_server_name_resolver(FixedServerNameResolver::new(name.clone()))
                .enable_http1()
                .wrap_connector(tcp),
            None => builder.enable_http1().wrap_connector(tcp),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self { pem, client })
    }
}

#[async_trait]
impl Peers for HttpPeers {
    async fn notify(&self, address: &str, notice: &Notice) -> Option<Ack> {
        let answer = tokio::time::timeout(NOTICE_MAX, self.send(address, notice)).await;
        match answer.unwrap_or_else(|_| Err("no answer in time".into())) {
            Ok(ack) => Some(ack),
            Err(reason) => {
                tracing::debug!(address, reason, "a notice was not acknowledged");
                self.trust_again();
                None
            }
        }
    }
}
