//! `GET /api/v1/crates?q=&per_page=`: `cargo search`.

use http::Method;
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::error::BadToken;
use super::labels::Labels;
use super::request::{Caller, caller, finish, method};
use super::state::PublicState;
use crate::registry::RegistryError;

/// What Cargo asks for, and at most (Cargo's web API, "Search").
const PER_PAGE: usize = 10;
const PER_PAGE_MAX: usize = 100;
/// Longer ones are refused.
const QUERY_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    q: String,
    per_page: Option<usize>,
}

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let for_search = state.clone();
    warp::path!("api" / "v1" / "crates")
        .and(method(Method::GET))
        .and(caller(state))
        .and(warp::query::<Query>())
        .then(move |caller, query| answer(for_search.clone(), caller, query))
        .boxed()
}

async fn answer(state: PublicState, caller: Caller, query: Query) -> Response {
    let mut labels = Labels::route("search");
    let result = search(&state, &caller, &query, &mut labels).await;
    let result = result.map(|value| warp::reply::json(&value).into_response());
    finish(result, &caller.base, BadToken::Forbid, labels)
}

async fn search(
    state: &PublicState,
    caller: &Caller,
    query: &Query,
    labels: &mut Labels,
) -> Result<serde_json::Value, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.user = principal.user().map(ToString::to_string);
    if query.q.len() > QUERY_BYTES_MAX {
        return Err(RegistryError::Invalid(format!("a search may be {QUERY_BYTES_MAX} bytes long at most")));
    }
    let limit = query.per_page.unwrap_or(PER_PAGE).clamp(1, PER_PAGE_MAX);
    let found = state.registry.search(&principal, &query.q, limit).await?;
    let crates: Vec<_> = found
        .hits
        .iter()
        .map(|hit| serde_json::json!({ "name": hit.name, "max_version": hit.max_version, "description": hit.description }))
        .collect();
    Ok(serde_json::json!({ "crates": crates, "meta": { "total": found.total } }))
}
