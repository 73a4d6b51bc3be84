//! `PUT /api/v1/crates/new`: `cargo publish`.
//!
//! The body is taken apart while it arrives: lengths are compared with their limits before anything is kept, the caller's right to the
//! name is settled before the crate is taken in, and an upload that is cut never reaches the store.

use std::pin::pin;

use bytes::Buf;
use futures::{Stream, StreamExt};
use http::header::EXPECT;
use http::{HeaderMap, Method};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body::cut;
use super::error::BadToken;
use super::labels::Labels;
use super::request::{Caller, caller, finish, method};
use super::state::PublicState;
use super::upload::{Announced, Spool, check};
use crate::access::Principal;
use crate::krate::metadata::PublishMetadata;
use crate::krate::publish_body::{BodyError, BodyEvent, BodyLimits, BodyParser};
use crate::registry::{Body, Sha256Digest};
use crate::registry::{Published, RegistryError, Ticket};

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let for_publish = state.clone();
    warp::path!("api" / "v1" / "crates" / "new")
        .and(method(Method::PUT))
        .and(caller(state))
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |caller, headers, body| answer(for_publish.clone(), caller, headers, body))
        .boxed()
}

async fn answer(
    state: PublicState,
    caller: Caller,
    headers: HeaderMap,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Response {
    let mut labels = Labels::route("publish");
    let mut body = pin!(body);
    let mut begun = false;
    let result = {
        let body = body.as_mut().inspect(|_| begun = true);
        publish(&state, &caller, body, &mut labels).await
    };
    if result.is_err() && (begun || !waits_for_continue(&headers)) {
        drain(body, &state).await;
    }
    let result = result.map(|published| warp::reply::json(&reply(&published)).into_response());
    finish(result, &caller.base, BadToken::Forbid, labels)
}

/// Cargo prints each string of `other`; the other two lists are for what crates.io alone checks.
fn reply(published: &Published) -> serde_json::Value {
    serde_json::json!({ "warnings": { "invalid_categories": [], "invalid_badges": [], "other": published.warnings } })
}

async fn publish(
    state: &PublicState,
    caller: &Caller,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
    labels: &mut Labels,
) -> Result<Published, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.by(&principal);
    let arrived = receive(state, &principal, body, labels).await?;
    let own = caller.own_index_urls();
    let upload = check(arrived.announced, arrived.body, arrived.sha256, own, &state.limits, &state.room).await?;
    let (registry, ticket) = (state.registry.clone(), arrived.ticket);
    state.registry.detached(async move { registry.publish(ticket, upload).await }).await
}

/// An upload that arrived whole.
struct Arrived {
    announced: Announced,
    ticket: Ticket,
    body: Body,
    sha256: Sha256Digest,
}

async fn receive(
    state: &PublicState,
    principal: &Principal,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
    labels: &mut Labels,
) -> Result<Arrived, RegistryError> {
    let mut body = pin!(body);
    let mut parser = BodyParser::new(body_limits(state));
    let mut announced: Option<(Announced, Ticket)> = None;
    let mut spool = None;
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| cut(&error))?;
        let mut chunk = chunk.copy_to_bytes(chunk.remaining());
        while let Some(event) = parser.next(&mut chunk).map_err(body_error)? {
            match event {
                BodyEvent::Metadata(json) => {
                    let (metadata, name, version) =
                        PublishMetadata::parse(&json).map_err(|error| RegistryError::Invalid(error.to_string()))?;
                    labels.about(&name);
                    let ticket = state.registry.may_publish(principal, &name).await?;
                    announced = Some((Announced { metadata, name, version }, ticket));
                }
                BodyEvent::CrateLength(len) => {
                    spool = Some(Spool::new(len, state.limits.spool_dir.clone(), &state.room).await?)
                }
                BodyEvent::Crate(bytes) => {
                    spool.as_mut().expect("the length comes before the bytes").write(&bytes).await?
                }
            }
        }
    }
    parser.finish().map_err(body_error)?;
    let (announced, ticket) = announced.expect("a finished body has metadata");
    let (body, sha256) = spool.expect("a finished body has a crate").finish().await?;
    Ok(Arrived { announced, ticket, body, sha256 })
}

/// Cargo's lengths are u32; limits above that cannot be reached.
fn body_limits(state: &PublicState) -> BodyLimits {
    let length = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    BodyLimits {
        metadata_bytes_max: length(state.limits.metadata_bytes_max),
        crate_bytes_max: length(state.limits.crate_bytes_max),
    }
}

fn body_error(error: BodyError) -> RegistryError {
    match error {
        BodyError::TooLong { .. } => RegistryError::TooLarge(error.to_string()),
        _ => RegistryError::Invalid(error.to_string()),
    }
}

fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Takes in and drops what a refused client is still sending, up to what an upload may be: a client that cannot send any further often does not read
/// the answer, and its user would see a broken connection instead of the reason.
async fn drain(mut body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Unpin, state: &PublicState) {
    let mut left = body_limits(state).body_bytes_max();
    while let Some(Ok(chunk)) = body.next().await {
        let Some(rest) = left.checked_sub(chunk.remaining() as u64) else { return };
        left = rest;
    }
}
