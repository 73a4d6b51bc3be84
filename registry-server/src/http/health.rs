//! `/livez`, `/readyz` and `/metrics` (Kubernetes, "API health endpoints", for the names).

use std::sync::atomic::Ordering;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::labels::Labels;
use super::request::method;
use super::state::InternalState;
use crate::metrics;

pub(super) fn routes(state: &InternalState) -> BoxedFilter<(Response,)> {
    let for_ready = state.clone();
    let live = warp::path!("livez").and(method(Method::GET)).map(|| quiet("livez", "ok\n".into_response()));
    let ready = warp::path!("readyz").and(method(Method::GET)).map(move || quiet("readyz", ready(&for_ready)));
    let metrics = warp::path!("metrics").and(method(Method::GET)).map(|| quiet("metrics", metrics_text()));
    live.or(ready).unify().or(metrics).unify().boxed()
}

fn quiet(route: &'static str, response: Response) -> Response {
    Labels::read(route).attach(response)
}

/// 200 when the store is fit and the server is not on its way down; otherwise 503. The body says why.
fn ready(state: &InternalState) -> Response {
    let verdict = state.registry.readiness();
    let draining = state.draining.load(Ordering::Relaxed);
    let ready = verdict.is_proven() && !draining;
    let mut body = serde_json::json!({ "ready": ready, "store": verdict, "replica": state.registry.standing() });
    if draining {
        body["draining"] = true.into();
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    warp::reply::with_status(warp::reply::json(&body), status).into_response()
}

fn metrics_text() -> Response {
    let mut response = metrics::render().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
