//! `GET`, `PUT` and `DELETE /api/v1/crates/{crate}/owners`.

use bytes::Buf;
use futures::Stream;
use http::Method;
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body;
use super::error::BadToken;
use super::labels::Labels;
use super::path::Segment;
use super::request::{Caller, WrongMethod, caller, finish};
use super::state::PublicState;
use crate::krate::{CrateName, Owner};
use crate::registry::RegistryError;

/// A list of logins is short.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
struct Users {
    users: Vec<String>,
}

#[derive(Clone, Copy)]
enum Verb {
    List,
    Add,
    Remove,
}

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let for_all = state.clone();
    let verb = warp::method().and_then(|method: Method| {
        std::future::ready(match method {
            Method::GET | Method::HEAD => Ok(Verb::List),
            Method::PUT => Ok(Verb::Add),
            Method::DELETE => Ok(Verb::Remove),
            _ => Err(warp::reject::custom(WrongMethod("GET, HEAD, PUT, DELETE"))),
        })
    });
    warp::path!("api" / "v1" / "crates" / Segment / "owners")
        .and(verb)
        .and(caller(state))
        .and(warp::body::stream())
        .then(move |krate, verb, caller, body| answer(for_all.clone(), krate, verb, caller, body))
        .boxed()
}

async fn answer(
    state: PublicState,
    krate: Segment,
    verb: Verb,
    caller: Caller,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Response {
    let mut labels = Labels::route("owners");
    let result = match verb {
        Verb::List => list(&state, &krate, &caller, &mut labels).await,
        Verb::Add => change(&state, &krate, &caller, body, true, &mut labels).await,
        Verb::Remove => change(&state, &krate, &caller, body, false, &mut labels).await,
    };
    let result = result.map(|value| warp::reply::json(&value).into_response());
    finish(result, &caller.base, BadToken::Forbid, labels)
}

/// Cargo insists on a numeric `id`; `name` is optional and not known here.
async fn list(
    state: &PublicState,
    krate: &Segment,
    caller: &Caller,
    labels: &mut Labels,
) -> Result<serde_json::Value, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.by(&principal);
    let name = krate.name()?;
    labels.about(&name);
    let owners = state.registry.owners(&principal, &name).await?;
    let users: Vec<_> = owners
        .iter()
        .map(|owner| serde_json::json!({ "id": owner.id(), "login": owner.as_str(), "name": null }))
        .collect();
    Ok(serde_json::json!({ "users": users }))
}

async fn change(
    state: &PublicState,
    krate: &Segment,
    caller: &Caller,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
    add: bool,
    labels: &mut Labels,
) -> Result<serde_json::Value, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.by(&principal);
    let name = krate.name()?;
    labels.about(&name);
    let owners = parse(&body::collect(body, BODY_BYTES_MAX).await?)?;
    let (registry, krate, logins) = (state.registry.clone(), name.clone(), owners.clone());
    state
        .registry
        .detached(async move {
            match add {
                true => registry.add_owners(&principal, &krate, &logins).await,
                false => registry.remove_owners(&principal, &krate, &logins).await,
            }
        })
        .await?;
    // Cargo prints `msg` and fails without it, for both verbs, although its book says otherwise for DELETE.
    Ok(serde_json::json!({ "ok": true, "msg": message(&name, &owners, add) }))
}

fn parse(body: &[u8]) -> Result<Vec<Owner>, RegistryError> {
    let Users { users } = body::json(body)?;
    if users.is_empty() {
        return Err(RegistryError::Invalid("`users` names nobody".into()));
    }
    users.iter().map(|login| Owner::parse(login).map_err(|error| RegistryError::Invalid(error.to_string()))).collect()
}

fn message(name: &CrateName, owners: &[Owner], add: bool) -> String {
    let logins = owners.iter().map(|owner| format!("`{owner}`")).collect::<Vec<_>>().join(", ");
    let (verb, what) = match (owners.len(), add) {
        (1, true) => ("is now", "an owner"),
        (_, true) => ("are now", "owners"),
        (1, false) => ("is no longer", "an owner"),
        (_, false) => ("are no longer", "owners"),
    };
    format!("{logins} {verb} {what} of `{name}`")
}
