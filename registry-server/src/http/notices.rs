//! `POST /peer/v1/notices`: another replica is about to change a record. Answered when what this one keeps of it is forgotten.
//!
//! Without `replicas.credential_file` the address answers 404.

use std::sync::Arc;

use bytes::Buf;
use futures::Stream;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body;
use super::credential::FileCredential;
use super::error::{self, BadToken};
use super::labels::Labels;
use super::request::method;
use super::state::InternalState;
use crate::config::BaseUrl;
use crate::registry::RegistryError;
use crate::replicas::Notice;

/// A notice is a few hundred bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

pub(super) fn routes(state: &InternalState) -> BoxedFilter<(Response,)> {
    let credential = state.peers.clone();
    let enabled = warp::path("peer").and_then(move || {
        let credential = credential.clone();
        std::future::ready(credential.ok_or_else(warp::reject::not_found))
    });
    let for_all = state.clone();
    enabled
        .and(warp::path!("v1" / "notices"))
        .and(method(Method::POST))
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |credential, headers, body| take(for_all.clone(), credential, headers, body))
        .boxed()
}

async fn take(
    state: InternalState,
    credential: Arc<FileCredential>,
    headers: HeaderMap,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Response {
    let labels = Labels::read("notices");
    match credential.admits(&headers) {
        Ok(true) => {}
        Ok(false) => {
            let mut response = error::reply(
                StatusCode::UNAUTHORIZED,
                "this needs the replicas' credential, as `Authorization: Bearer …`",
            );
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return labels.attach(response);
        }
        Err(reason) => {
            tracing::error!(reason, file = %credential.file().display(), "replicas.credential_file cannot be read");
            return labels.attach(error::reply(
                StatusCode::SERVICE_UNAVAILABLE,
                "the replicas' credential cannot be read; the log says why",
            ));
        }
    }
    let response = match apply(&state, body).await {
        Ok(response) => response,
        Err(failure) => {
            let nobody = BaseUrl::parse("http://internal").expect("a URL");
            error::registry(&failure, &nobody, BadToken::Forbid)
        }
    };
    labels.attach(response)
}

async fn apply(
    state: &InternalState,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send,
) -> Result<Response, RegistryError> {
    let notice: Notice = body::json(&body::collect(body, BODY_BYTES_MAX).await?)?;
    Ok(match state.registry.notice(&notice).await {
        Some(ack) => {
            let mut response = warp::reply::json(&ack).into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        // Applied all the same; but the writer must not take that for the word of whom it asked.
        None => error::reply(StatusCode::CONFLICT, "this replica is not of that epoch"),
    })
}
