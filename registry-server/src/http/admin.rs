//! The admin API: `PUT`, `GET` and `DELETE /admin/v1/tokens/{sha256}`, for the operator. The caller makes a token and tells its hash; no secret
//! passes here but the admin credential itself.
//!
//! Without `admin.token_file` every address below `/admin/` answers 404.

use std::sync::Arc;

use bytes::Buf;
use futures::Stream;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body;
use super::credential::FileCredential;
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
    admin: Arc<FileCredential>,
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
            tracing::error!(reason, file = %admin.file().display(), "admin.token_file cannot be read");
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
