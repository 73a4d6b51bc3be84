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
use super::request::{Caller, Whole, caller, finish, method};
use super::state::PublicState;
use crate::access::Visibility;
use crate::krate::CrateName;
use crate::registry::{Index, RegistryError};

/// How many headers an answer has at most, the request's id and two of hyper included.
const HEADERS: usize = 8;

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
    let mut labels = Labels::read("config");
    let result = match caller.authenticate(&state.registry).await {
        Ok(principal) => {
            labels.by(&principal);
            Ok(config(caller.config()))
        }
        Err(error) => Err(error),
    };
    finish(result, &caller.base, BadToken::Challenge, labels)
}

/// `config.json`, if memory knows who asks.
pub(super) fn config_at_once(state: &PublicState, caller: &Caller, labels: &mut Labels) -> Option<Whole> {
    *labels = Labels::read("config");
    Some(caller.authenticate_at_once(&state.registry)?.map(|principal| {
        labels.by(&principal);
        config(caller.config())
    }))
}

fn config(body: &Bytes) -> http::Response<Bytes> {
    let mut response = http::Response::new(body.clone());
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn get_file(state: PublicState, tail: Tail, caller: Caller, headers: HeaderMap) -> Response {
    let mut labels = Labels::read("index");
    let result = file(&state, tail.as_str(), &caller, &headers, &mut labels).await;
    finish(result, &caller.base, BadToken::Challenge, labels)
}

async fn file(state: &PublicState, path: &str, caller: &Caller, headers: &HeaderMap, labels: &mut Labels) -> Whole {
    // Who asks comes first, so that a private registry does not even tell which paths could be.
    let principal = caller.authenticate(&state.registry).await?;
    labels.by(&principal);
    let name = name_at(path)?;
    labels.about(&name);
    let index = state.registry.index(&principal, &name).await?;
    match answer(state, &index, headers) {
        Some(response) => Ok(response),
        None => Ok(content(state, &index, None, index.plain().await?)),
    }
}

/// An index file, if memory has it and it can be sent as it is.
pub(super) fn file_at_once(
    state: &PublicState,
    path: &str,
    caller: &Caller,
    headers: &HeaderMap,
    labels: &mut Labels,
) -> Option<Whole> {
    *labels = Labels::read("index");
    let mut find = || {
        let principal = match caller.authenticate_at_once(&state.registry)? {
            Ok(principal) => principal,
            Err(error) => return Some(Err(error)),
        };
        labels.by(&principal);
        let name = match name_at(path) {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        let index = state.registry.index_at_once(&principal, &name);
        labels.krate = Some(name);
        index
    };
    match find()? {
        Ok(index) => answer(state, &index, headers).map(Ok),
        Err(error) => Some(Err(error)),
    }
}

fn name_at(path: &str) -> Result<CrateName, RegistryError> {
    CrateName::from_index_path(path).ok_or_else(|| RegistryError::NotFound(format!("no index file can lie at {path}")))
}

/// The answer, unless the file has to be inflated first.
fn answer(state: &PublicState, index: &Index, headers: &HeaderMap) -> Option<http::Response<Bytes>> {
    if holds(headers, index.etag_value()) {
        let mut response = with_validators(state, index, Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    takes_gzip(headers).then(|| content(state, index, Some("gzip"), index.gzip().clone()))
}

fn content(state: &PublicState, index: &Index, coding: Option<&'static str>, body: Bytes) -> http::Response<Bytes> {
    let mut response = with_validators(state, index, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}

fn with_validators(state: &PublicState, index: &Index, body: Bytes) -> http::Response<Bytes> {
    let cache = match state.registry.visibility() {
        Visibility::Private => "private, no-cache",
        Visibility::Public => "no-cache",
    };
    let mut response = http::Response::new(body);
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(ETAG, index.etag_value().clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding, authorization"));
    response
}

/// Whether the client has this version already. Weak comparison (RFC 9110, 13.1.2): a proxy may have weakened the tag.
pub(super) fn holds(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").as_bytes() == etag.as_bytes() || tag.trim() == "*";
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
            let etag = HeaderValue::from_static("\"a\"");
            assert_eq!(holds(&headers(IF_NONE_MATCH, value), &etag), matches, "{value}");
        }
    }
}
