//! From an error to a status code and to `{"errors":[{"detail":"…"}]}`, which Cargo shows as a sentence (Cargo's web API,
//! "Responses"). What is inside stays in the log.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use warp::reply::Response;

use crate::config::BaseUrl;
use crate::registry::RegistryError;

/// What a client should wait before it asks again, in seconds; Cargo honours up to 10 (`network/retry.rs`).
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("2");

/// The body of every error.
pub(crate) fn json_errors(detail: &str) -> String {
    let detail = serde_json::to_string(detail).expect("a text is JSON");
    format!("{{\"errors\":[{{\"detail\":{detail}}}]}}")
}

fn whole(status: StatusCode, detail: &str) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(json_errors(detail)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An error answer.
pub(super) fn reply(status: StatusCode, detail: &str) -> Response {
    whole(status, detail).map(Into::into)
}

/// 405 with the methods that would do.
pub(super) fn method_not_allowed(allow: &'static str) -> Response {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, &format!("this address answers to {allow} only"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Which answer a token that does not hold gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadToken {
    /// 401 with the challenge: the index and downloads, where Cargo says "token rejected" and how to log in.
    Challenge,
    /// 403: the web API, as Cargo's documentation asks.
    Forbid,
}

/// Answers an error of the registry. `base` is for the challenge, whose `login_url` has to be absolute: Cargo fails on
/// any other (`http_remote.rs`).
pub(super) fn registry(error: &RegistryError, base: &BaseUrl, bad_token: BadToken) -> Response {
    in_memory(error, base, bad_token).map(Into::into)
}

/// The same, with a body that is in memory.
pub(super) fn in_memory(error: &RegistryError, base: &BaseUrl, bad_token: BadToken) -> http::Response<Bytes> {
    let status = status(error, bad_token);
    if let Some(cause) = error.cause() {
        tracing::error!(status = status.as_u16(), cause, "{error}");
    }
    let mut response = whole(status, &error.to_string());
    if status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = HeaderValue::try_from(format!("Cargo login_url=\"{base}/me\""))
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS);
    }
    response
}

fn status(error: &RegistryError, bad_token: BadToken) -> StatusCode {
    match error {
        RegistryError::Unauthenticated { had_token: true, .. } if bad_token == BadToken::Forbid => {
            StatusCode::FORBIDDEN
        }
        RegistryError::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        RegistryError::Forbidden(_) => StatusCode::FORBIDDEN,
        RegistryError::NotFound(_) => StatusCode::NOT_FOUND,
        RegistryError::Invalid(_) => StatusCode::BAD_REQUEST,
        RegistryError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        RegistryError::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
        RegistryError::Conflict(_) => StatusCode::CONFLICT,
        RegistryError::Contended { .. }
        | RegistryError::Unclear { .. }
        | RegistryError::NotReady(_)
        | RegistryError::Busy(_)
        | RegistryError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        RegistryError::Broken { .. } | RegistryError::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
