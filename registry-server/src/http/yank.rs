//! `DELETE …/{version}/yank` and `PUT …/{version}/unyank`.

use http::Method;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::error::BadToken;
use super::labels::Labels;
use super::path::Segment;
use super::request::{Caller, caller, finish, method};
use super::state::PublicState;
use crate::registry::RegistryError;

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let (for_yank, for_unyank) = (state.clone(), state.clone());
    let yank = warp::path!("api" / "v1" / "crates" / Segment / Segment / "yank")
        .and(method(Method::DELETE))
        .and(caller(state))
        .then(move |krate, version, caller| set(for_yank.clone(), krate, version, caller, true));
    let unyank = warp::path!("api" / "v1" / "crates" / Segment / Segment / "unyank")
        .and(method(Method::PUT))
        .and(caller(state))
        .then(move |krate, version, caller| set(for_unyank.clone(), krate, version, caller, false));
    yank.or(unyank).unify().boxed()
}

async fn set(state: PublicState, krate: Segment, version: Segment, caller: Caller, yanked: bool) -> Response {
    let mut labels = Labels::route(if yanked { "yank" } else { "unyank" });
    let result = change(&state, &krate, &version, &caller, yanked, &mut labels).await;
    // Cargo panics at `"ok": false`, so a failure is always an error answer.
    let result = result.map(|()| warp::reply::json(&serde_json::json!({ "ok": true })).into_response());
    finish(result, &caller.base, BadToken::Forbid, labels)
}

async fn change(
    state: &PublicState,
    krate: &Segment,
    version: &Segment,
    caller: &Caller,
    yanked: bool,
    labels: &mut Labels,
) -> Result<(), RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.by(&principal);
    let (name, version) = (krate.name()?, version.version()?);
    labels.about(&name);
    let registry = state.registry.clone();
    state.registry.detached(async move { registry.set_yanked(&principal, &name, &version, yanked).await }).await
}
