//! The sparse index: `config.json` and one file per crate (Cargo book, "Registry index", "Sparse protocol").
//!
//! Cargo knows four answers: 200, 304, 404 and 401; anything else is an error to it.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::Tail;
use warp::reply::Response;

use super::error::BadToken;
use super::labels::Labels;
use super::request::{Caller, caller, finish, method};
use super::state::PublicState;
use crate::access::Visibility;
use crate::config::BaseUrl;
use crate::krate::CrateName;
use crate::registry::{Index, RegistryError};

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let (for_config, for_files) = (state.clone(), state.clone());
    let config = warp::path!("index" / "config.json")
        .and(method(Method::GET))
        .and(caller(state))
        .then(move |caller: Caller| get_config(for_config.clone(), caller));
    let files = warp::path("index")
        .and(warp::path::tail())
        .and(method(Method::GET))
        .and(caller(state))
        .and(warp::header::headers_cloned())
        .then(move |tail: Tail, caller: Caller, headers: HeaderMap| get_file(for_files.clone(), tail, caller, headers));
    config.or(files).unify().boxed()
}

/// The hottest address of all: Cargo asks before every command, and without a validator (`http_remote.rs`).
async fn get_config(state: PublicState, caller: Caller) -> Response {
    let mut labels = Labels::route("config");
    let result = caller.authenticate(&state.registry).await.map(|principal| {
        labels.user = principal.user().map(ToString::to_string);
        let private = state.registry.visibility() == Visibility::Private;
        json(&config_json(&caller.base, private))
    });
    finish(result, &caller.base, BadToken::Challenge, labels)
}

/// `dl` and `api` have no trailing slash; the markers are replaced by Cargo as plain text.
fn config_json(base: &BaseUrl, auth_required: bool) -> serde_json::Value {
    let mut config = serde_json::json!({
        "dl": format!("{base}/api/v1/crates/{{crate}}/{{version}}/download"),
        "api": base.as_str(),
    });
    if auth_required {
        config["auth-required"] = true.into();
    }
    config
}

fn json(value: &serde_json::Value) -> Response {
    let mut response = Response::new(value.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn get_file(state: PublicState, tail: Tail, caller: Caller, headers: HeaderMap) -> Response {
    let mut labels = Labels::route("index");
    let result = file(&state, &tail, &caller, &headers, &mut labels).await;
    finish(result, &caller.base, BadToken::Challenge, labels)
}

async fn file(
    state: &PublicState,
    tail: &Tail,
    caller: &Caller,
    headers: &HeaderMap,
    labels: &mut Labels,
) -> Result<Response, RegistryError> {
    // Who asks comes first, so that a private registry does not even tell which paths could be.
    let principal = caller.authenticate(&state.registry).await?;
    labels.user = principal.user().map(ToString::to_string);
    let name = CrateName::from_index_path(tail.as_str())
        .ok_or_else(|| RegistryError::NotFound(format!("no index file can lie at {}", tail.as_str())))?;
    labels.krate = Some(name.to_string());
    let index = state.registry.index(&principal, &name).await?;
    let mut response = if holds(headers, index.etag()) {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        content(&index, headers).await?
    };
    let cache = match state.registry.visibility() {
        Visibility::Private => "private, no-cache",
        Visibility::Public => "no-cache",
    };
    let etag = HeaderValue::try_from(index.etag()).map_err(|error| RegistryError::Internal {
        text: "the index file cannot be sent",
        reason: error.to_string(),
    })?;
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding, authorization"));
    Ok(response)
}

async fn content(index: &Index, headers: &HeaderMap) -> Result<Response, RegistryError> {
    let mut response = if takes_gzip(headers) {
        let mut response = Response::new(index.gzip().clone().into());
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        Response::new(index.plain().await?.into())
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// Whether the client has this version already. Weak comparison (RFC 9110, 13.1.2): a proxy may have weakened the tag.
pub(super) fn holds(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*";
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(strong))
}

/// Whether the client takes gzip (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut wildcard = false;
    for coding in headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0));
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return !refused,
            "*" => wildcard = !refused,
            _ => {}
        }
    }
    wildcard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).expect("valid"))])
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (value, takes) in [
            ("deflate, gzip", true),
            ("gzip;q=0", false),
            ("GZIP;q=0.5, *;q=0", true),
            ("*", true),
            ("*;q=0", false),
            ("identity", false),
            ("br", false),
        ] {
            assert_eq!(takes_gzip(&headers(ACCEPT_ENCODING, value)), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn validators_match_weakly() {
        for (value, matches) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("a", false), ("\"b\"", false)]
        {
            assert_eq!(holds(&headers(IF_NONE_MATCH, value), "\"a\""), matches, "{value}");
        }
    }
}
