//! `GET /api/v1/crates?q=&page=&per_page=&sort=`: `cargo search`, and the listing of all crates when `q` is empty.

use http::Method;
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::error::BadToken;
use super::labels::Labels;
use super::request::{Caller, caller, finish, method};
use super::state::PublicState;
use crate::catalog::Row;
use crate::registry::{Hit, Query, RegistryError};

/// Hits per page when nobody says otherwise, as on crates.io (Cargo's web API, "Search").
const PER_PAGE: usize = 10;

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    q: String,
    page: Option<usize>,
    per_page: Option<usize>,
    sort: Option<String>,
}

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let for_search = state.clone();
    warp::path!("api" / "v1" / "crates")
        .and(method(Method::GET))
        .and(caller(state))
        .and(warp::query::<Parameters>())
        .then(move |caller, query| answer(for_search.clone(), caller, query))
        .boxed()
}

async fn answer(state: PublicState, caller: Caller, query: Parameters) -> Response {
    let mut labels = Labels::route("search");
    let result = search(&state, &caller, &query, &mut labels).await;
    let result = result.map(|value| warp::reply::json(&value).into_response());
    finish(result, &caller.base, BadToken::Forbid, labels)
}

async fn search(
    state: &PublicState,
    caller: &Caller,
    asked: &Parameters,
    labels: &mut Labels,
) -> Result<serde_json::Value, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.by(&principal);
    let (page, per_page) = (asked.page.unwrap_or(1), asked.per_page.unwrap_or(PER_PAGE));
    let query = Query::new(&asked.q, asked.sort.as_deref(), page, per_page)
        .map_err(|error| RegistryError::Invalid(error.to_string()))?;
    let found = state.registry.search(&principal, &query).await?;
    let crates: Vec<_> = found.hits.iter().map(shown).collect();
    Ok(serde_json::json!({ "crates": crates, "meta": { "total": found.total } }))
}

fn shown(hit: &Hit) -> serde_json::Value {
    let Row { name, max_version, description, keywords, categories, updated_at, .. } = &hit.row;
    serde_json::json!({
        "name": name,
        "max_version": max_version,
        "description": description,
        "downloads": hit.downloads,
        "updated_at": updated_at,
        "keywords": keywords,
        "categories": categories,
    })
}
