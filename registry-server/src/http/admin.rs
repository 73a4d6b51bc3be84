//! The admin API: `PUT`, `GET` and `DELETE /admin/v1/tokens/{sha256}`, for the operator. The caller makes a token and tells its hash; no secret
//! passes here but the admin credential itself.
//!
//! Without `admin.token_file` every address below `/admin/` answers 404.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Buf;
use futures::Stream;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body;
use super::error::{self, BadToken};
use super::labels::Labels;
use super::path::Segment;
use super::request::WrongMethod;
use super::state::InternalState;
use crate::access::{NewToken, TokenHash, TokenRecord};
use crate::config::BaseUrl;
use crate::registry::RegistryError;

/// The largest description of a token: 256 grants of 256 patterns would be more, but nobody writes that.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// A shorter credential could be guessed.
const CREDENTIAL_BYTES_MIN: usize = 16;
/// Larger files are something else.
const CREDENTIAL_BYTES_MAX: u64 = 4096;

/// The admin credential, in a file that may change.
#[derive(Debug)]
pub struct AdminCredential {
    file: PathBuf,
}

impl AdminCredential {
    /// Checks that the file holds a credential now.
    ///
    /// # Errors
    /// The path and what is wrong.
    pub fn load(file: &Path) -> Result<Self, (PathBuf, String)> {
        let this = Self { file: file.to_owned() };
        match this.read() {
            Ok(_) => Ok(this),
            Err(reason) => Err((this.file, reason)),
        }
    }

    /// Reads the file, every time: requests are rare, and a rotated Secret holds at once.
    fn read(&self) -> Result<SecretString, String> {
        let len = std::fs::metadata(&self.file).map_err(|error| error.to_string())?.len();
        if len > CREDENTIAL_BYTES_MAX {
            return Err(format!("the file has {len} bytes, which cannot be a credential"));
        }
        let text = std::fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
        let text = text.trim();
        if text.len() < CREDENTIAL_BYTES_MIN {
            return Err(format!(
                "the credential has {} characters; it needs at least {CREDENTIAL_BYTES_MIN}",
                text.len()
            ));
        }
        Ok(SecretString::from(text.to_owned()))
    }

    /// Whether the request carries the credential, as `Bearer`.
    fn admits(&self, headers: &HeaderMap) -> Result<bool, String> {
        let expected = self.read()?;
        let given =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        Ok(given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer")
                && bool::from(given.trim().as_bytes().ct_eq(expected.expose_secret().as_bytes()))
        }))
    }
}

pub(super) fn routes(state: &InternalState) -> BoxedFilter<(Response,)> {
    let admin = state.admin.clone();
    let enabled = warp::path("admin").and_then(move || {
        let admin = admin.clone();
        std::future::ready(admin.ok_or_else(warp::reject::not_found))
    });
    let verb = warp::method().and_then(|method: Method| {
        let known = [Method::GET, Method::PUT, Method::DELETE].contains(&method);
        std::future::ready(if known { Ok(method) } else { Err(warp::reject::custom(WrongMethod("GET, PUT, DELETE"))) })
    });
    let for_all = state.clone();
    enabled
        .and(warp::path!("v1" / "tokens" / Segment))
        .and(verb)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |admin, hash, verb, headers, body| token(for_all.clone(), admin, hash, verb, headers, body))
        .boxed()
}

async fn token(
    state: InternalState,
    admin: Arc<AdminCredential>,
    hash: Segment,
    verb: Method,
    headers: HeaderMap,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Response {
    let labels = Labels::route("admin_tokens");
    match admin.admits(&headers) {
        Ok(true) => {}
        Ok(false) => {
            let mut response =
                error::reply(StatusCode::UNAUTHORIZED, "this needs the admin credential, as `Authorization: Bearer …`");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return labels.attach(response);
        }
        Err(reason) => {
            tracing::error!(reason, file = %admin.file.display(), "admin.token_file cannot be read");
            return labels.attach(error::reply(
                StatusCode::SERVICE_UNAVAILABLE,
                "the admin credential cannot be read; the log says why",
            ));
        }
    }
    let response = match handle(&state, &hash, &verb, body).await {
        Ok(response) => response,
        Err(failure) => {
            let nobody = BaseUrl::parse("http://internal").expect("a URL");
            error::registry(&failure, &nobody, BadToken::Forbid)
        }
    };
    labels.attach(response)
}

async fn handle(
    state: &InternalState,
    hash: &Segment,
    verb: &Method,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Result<Response, RegistryError> {
    let hash: TokenHash = hash
        .as_str()
        .parse()
        .map_err(|error: crate::access::token::TokenHashError| RegistryError::Invalid(error.to_string()))?;
    let registry = state.registry.clone();
    match *verb {
        Method::GET => {
            let record = registry.token(hash).await?;
            record
                .map(|record| shown(hash, &record))
                .ok_or_else(|| RegistryError::NotFound(format!("there is no token {hash}")))
        }
        Method::PUT => {
            let new: NewToken = body::json(&body::collect(body, BODY_BYTES_MAX).await?)?;
            let record = state.registry.detached(async move { registry.put_token(hash, new).await }).await?;
            Ok(shown(hash, &record))
        }
        _ => {
            state.registry.detached(async move { registry.revoke_token(hash).await }).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

fn shown(hash: TokenHash, record: &TokenRecord) -> Response {
    let TokenRecord { user, description, grants, created_at, expires_at, revoked_at, .. } = record;
    let value = serde_json::json!({
        "sha256": hash,
        "user": user,
        "description": description,
        "grants": grants,
        "created_at": created_at,
        "expires_at": expires_at,
        "revoked_at": revoked_at,
    });
    warp::reply::json(&value).into_response()
}
