//! Client of a registry's internal listener: tokens by hash (`/admin/v1/`), and its own verdict on its store (`/readyz`).
//!
//! Only HTTPS, trusting exactly the authority that the operator issued for this registry. Every call has a deadline, and every
//! answer a size limit. No error carries the credential or a token.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::crd::token::Grant;

/// From the first byte of the request to the last of the answer.
const CALL: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One registry's internal listener. Cheap to make; keeps its connections while it lives.
pub struct AdminApi {
    base: String,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    credential: SecretString,
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Why a call did not do what it was sent for. May be shown: it holds no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The client cannot be made of what the registry's Secret holds.
    #[error("the registry's internal Secret cannot be used: {0}")]
    Settings(String),
    /// No connection.
    #[error("no connection to the registry's internal listener: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the registry's internal listener did not answer within {} s", CALL.as_secs())]
    TimedOut,
    /// The registry does not take the admin credential.
    #[error("the registry refuses the operator's admin credential; it may not have read the Secret yet")]
    Unauthorized,
    /// The registry is up and its store is not proven.
    #[error("the registry is not ready: {0}")]
    NotReady(String),
    /// The token was revoked before; it stays so.
    #[error("{0}")]
    Conflict(String),
    /// The registry finds the request wrong.
    #[error("the registry refuses this: {0}")]
    Refused(String),
    /// Not an answer that was agreed on.
    #[error("the registry answered {status} to {call}: {detail}")]
    Unexpected {
        /// HTTP status.
        status: u16,
        /// Method and path, without a hash.
        call: &'static str,
        /// Beginning of the body.
        detail: String,
    },
}

impl AdminError {
    /// Whether the same call may succeed later without a change of the spec.
    pub fn is_transient(&self) -> bool {
        !matches!(self, AdminError::Refused(_) | AdminError::Conflict(_))
    }
}

/// What a token shall be: the body of `PUT /admin/v1/tokens/{sha256}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenWanted {
    /// Login that the registry sees.
    pub user: String,
    /// For people who read the list of tokens.
    pub description: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A token as the registry knows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TokenKnown {
    /// Hex SHA-256 of the token.
    pub sha256: String,
    /// Login that the registry sees.
    pub user: String,
    /// When the registry first heard of it.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Readiness {
    /// Whether it serves.
    pub ready: bool,
    /// What it says of its store.
    #[serde(default)]
    pub store: Option<StoreVerdict>,
}

/// What a registry says of its store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct StoreVerdict {
    /// `Proving`, `Proven`, `Refused`, `Unreachable`.
    pub verdict: String,
    /// Step of the proof that failed.
    #[serde(default)]
    pub step: Option<String>,
    /// What was seen, for people.
    #[serde(default)]
    pub message: Option<String>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    detail: String,
}

impl AdminApi {
    /// A client of the listener at `base` (no trailing slash), which has a certificate by an authority in `ca_pem`.
    ///
    /// # Errors
    /// [`AdminError::Settings`] if `ca_pem` holds no certificate, or the credential cannot be sent in a header.
    pub fn new(base: impl Into<String>, ca_pem: &[u8], credential: SecretString) -> Result<AdminApi, AdminError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            let certificate = certificate.map_err(|e| AdminError::Settings(format!("ca.crt: {e}")))?;
            roots.add(certificate).map_err(|e| AdminError::Settings(format!("ca.crt: {e}")))?;
        }
        if roots.is_empty() {
            return Err(AdminError::Settings("ca.crt holds no certificate".into()));
        }
        if credential.expose_secret().is_empty() || !credential.expose_secret().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AdminError::Settings(
                "admin-token is empty or has characters that a header cannot carry".into(),
            ));
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| AdminError::Settings(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(AdminApi { base: base.into(), http: Client::builder(TokioExecutor::new()).build(https), credential })
    }

    /// Makes the token with this hash known, or changes what it may do. Sending the same again changes nothing.
    ///
    /// # Errors
    /// [`AdminError::Conflict`] if it was revoked; [`AdminError::Refused`] if the registry finds user or grants wrong.
    pub async fn put_token(&self, sha256: &str, wanted: &TokenWanted) -> Result<TokenKnown, AdminError> {
        let body = serde_json::to_vec(wanted).map_err(|e| AdminError::Settings(e.to_string()))?;
        let (status, body) = self.call(Method::PUT, &format!("/admin/v1/tokens/{sha256}"), body).await?;
        match status {
            StatusCode::OK => parsed("PUT /admin/v1/tokens", status, &body),
            _ => Err(refusal("PUT /admin/v1/tokens", status, &body)),
        }
    }

    /// The token with this hash; `None` if the registry never heard of it.
    pub async fn get_token(&self, sha256: &str) -> Result<Option<TokenKnown>, AdminError> {
        let (status, body) = self.call(Method::GET, &format!("/admin/v1/tokens/{sha256}"), Vec::new()).await?;
        match status {
            StatusCode::OK => parsed("GET /admin/v1/tokens", status, &body).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal("GET /admin/v1/tokens", status, &body)),
        }
    }

    /// Revokes the token with this hash. One that is unknown or revoked already is fine.
    pub async fn revoke_token(&self, sha256: &str) -> Result<(), AdminError> {
        let (status, body) = self.call(Method::DELETE, &format!("/admin/v1/tokens/{sha256}"), Vec::new()).await?;
        match status {
            StatusCode::NO_CONTENT => Ok(()),
            _ => Err(refusal("DELETE /admin/v1/tokens", status, &body)),
        }
    }

    /// Whether the registry serves, and what it says of its store.
    pub async fn readyz(&self) -> Result<Readiness, AdminError> {
        let (status, body) = self.call(Method::GET, "/readyz", Vec::new()).await?;
        match status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => parsed("GET /readyz", status, &body),
            _ => Err(refusal("GET /readyz", status, &body)),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), AdminError> {
        let mut credential = header::HeaderValue::try_from(format!("Bearer {}", self.credential.expose_secret()))
            .map_err(|_| AdminError::Settings("admin-token cannot be sent in a header".into()))?;
        credential.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, credential)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("supercargo-operator/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| AdminError::Settings(e.to_string()))?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|e| AdminError::Unreachable(chain(&e)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|e| AdminError::Unreachable(e.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(CALL, exchange).await.map_err(|_| AdminError::TimedOut)?
    }
}

fn parsed<T: serde::de::DeserializeOwned>(
    call: &'static str,
    status: StatusCode,
    body: &[u8],
) -> Result<T, AdminError> {
    serde_json::from_slice(body).map_err(|e| AdminError::Unexpected {
        status: status.as_u16(),
        call,
        detail: e.to_string(),
    })
}

fn refusal(call: &'static str, status: StatusCode, body: &[u8]) -> AdminError {
    let told = serde_json::from_slice::<Errors>(body).ok().filter(|e| !e.errors.is_empty());
    let Some(told) = told else {
        if status == StatusCode::UNAUTHORIZED {
            return AdminError::Unauthorized;
        }
        let detail: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(200).collect();
        return AdminError::Unexpected { status: status.as_u16(), call, detail };
    };
    let detail = told.errors.into_iter().map(|e| e.detail).collect::<Vec<_>>().join("; ");
    match status {
        StatusCode::UNAUTHORIZED => AdminError::Unauthorized,
        StatusCode::CONFLICT => AdminError::Conflict(detail),
        StatusCode::SERVICE_UNAVAILABLE => AdminError::NotReady(detail),
        s if s.is_client_error() => AdminError::Refused(detail),
        _ => AdminError::Unexpected { status: status.as_u16(), call, detail },
    }
}

fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
