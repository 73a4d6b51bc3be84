//! The admin API. `PUT`, `GET` and `DELETE /admin/v1/tokens/{sha256}`, for the operator: the caller makes a token and tells its hash; no secret
//! passes here but the admin credential itself. `DELETE /admin/v1/crates/{crate}` deletes a crate, `PUT` restores it, `GET` shows it.
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
use crate::krate::CrateName;
use crate::krate::name::NameError;
use crate::registry::RegistryError;

/// The largest description of a token: 256 grants of 256 patterns would be more, but nobody writes that.
const BODY_BYTES_MAX: usize = 512 * 1024;

pub(super) fn routes(state: &InternalState) -> BoxedFilter<(Response,)> {
    let (for_tokens, for_crates) = (state.clone(), state.clone());
    let tokens = guarded(state, "admin_tokens")
        .and(warp::path!("v1" / "tokens" / Segment))
        .and(verb())
        .and(warp::body::stream())
        .then(move |guard: Guard, hash, verb, body| {
            let state = for_tokens.clone();
            async move { guard.answer(|| token(state, hash, verb, body)).await }
        });
    let crates = guarded(state, "admin_crates").and(warp::path!("v1" / "crates" / Segment)).and(verb()).then(
        move |guard: Guard, name, verb| {
            let state = for_crates.clone();
            async move { guard.answer(|| krate(state, name, verb)).await }
        },
    );
    tokens.or(crates).unify().boxed()
}

/// Below `/admin/`, if there is an admin API: who asks, for the handler to find out.
fn guarded(state: &InternalState, route: &'static str) -> BoxedFilter<(Guard,)> {
    let admin = state.admin.clone();
    warp::path("admin")
        .and_then(move || {
            let admin = admin.clone();
            std::future::ready(admin.ok_or_else(warp::reject::not_found))
        })
        .and(warp::header::headers_cloned())
        .map(move |admin, headers| Guard { admin, headers, route })
        .boxed()
}

fn verb() -> BoxedFilter<(Method,)> {
    warp::method()
        .and_then(|method: Method| {
            let known = [Method::GET, Method::PUT, Method::DELETE].contains(&method);
            let refused = || warp::reject::custom(WrongMethod("GET, PUT, DELETE"));
            std::future::ready(if known { Ok(method) } else { Err(refused()) })
        })
        .boxed()
}

/// A request that has yet to show the admin credential.
struct Guard {
    admin: Arc<FileCredential>,
    headers: HeaderMap,
    route: &'static str,
}

impl Guard {
    /// Lets the handler answer, if the credential is right.
    async fn answer<F: Future<Output = Result<Response, RegistryError>> + Send>(
        self,
        handler: impl FnOnce() -> F + Send,
    ) -> Response {
        let response = match self.admin.admits(&self.headers) {
            Ok(true) => handler().await.unwrap_or_else(|failure| {
                let nobody = BaseUrl::parse("http://internal").expect("a URL");
                error::registry(&failure, &nobody, BadToken::Forbid)
            }),
            Ok(false) => {
                let text = "this needs the admin credential, as `Authorization: Bearer …`";
                let mut response = error::reply(StatusCode::UNAUTHORIZED, text);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            Err(reason) => {
                tracing::error!(reason, file = %self.admin.file().display(), "admin.token_file cannot be read");
                error::reply(StatusCode::SERVICE_UNAVAILABLE, "the admin credential cannot be read; the log says why")
            }
        };
        Labels::route(self.route).attach(response)
    }
}

/// A crate, deleted or not: shows it, deletes it, restores it.
async fn krate(state: InternalState, name: Segment, verb: Method) -> Result<Response, RegistryError> {
    let name: CrateName =
        name.as_str().parse().map_err(|error: NameError| RegistryError::Invalid(error.to_string()))?;
    let registry = state.registry.clone();
    match verb {
        Method::GET => {
            let found = registry.crate_state(&name).await?;
            let missing = || RegistryError::NotFound(format!("there is no crate `{name}`"));
            Ok(warp::reply::json(&found.ok_or_else(missing)?).into_response())
        }
        Method::PUT => {
            state.registry.detached(async move { registry.restore_crate(&name).await }).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => {
            state.registry.detached(async move { registry.delete_crate(&name).await }).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

async fn token(
    state: InternalState,
    hash: Segment,
    verb: Method,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Result<Response, RegistryError> {
    let hash: TokenHash = hash
        .as_str()
        .parse()
        .map_err(|error: crate::access::token::TokenHashError| RegistryError::Invalid(error.to_string()))?;
    let registry = state.registry.clone();
    match verb {
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
