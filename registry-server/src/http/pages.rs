//! `/` and `/me`: one small page that says how to set Cargo up and how to log in. `cargo login` prints the address of `/me`.

use askama::Template;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::error;
use super::labels::Labels;
use super::request::{Caller, caller, method};
use super::state::PublicState;
use crate::access::Visibility;

/// Nothing is loaded and nothing runs: the page is text with its own style.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

#[derive(Template)]
#[template(path = "me.html")]
struct Page {
    host: String,
    index: String,
    private: bool,
}

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let private = state.registry.visibility() == Visibility::Private;
    let root =
        warp::path::end().and(method(Method::GET)).and(caller(state)).map(move |caller| page("root", &caller, private));
    let me =
        warp::path!("me").and(method(Method::GET)).and(caller(state)).map(move |caller| page("me", &caller, private));
    root.or(me).unify().boxed()
}

fn page(route: &'static str, caller: &Caller, private: bool) -> Response {
    let base = caller.base.as_str();
    let host = base.split_once("://").map_or(base, |(_, host)| host).to_owned();
    let response = match (Page { host, index: caller.base.index(), private }).render() {
        Ok(html) => {
            let mut response = warp::reply::html(html).into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, POLICY);
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Err(failure) => {
            tracing::error!(error = %failure, "the page cannot be rendered");
            error::reply(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown")
        }
    };
    Labels::route(route).attach(response)
}
