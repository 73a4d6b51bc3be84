//! `GET /api/v1/crates/{crate}/{version}/download`: the `.crate` file, streamed with constant memory.

use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::counted::is_counted;
use super::error::BadToken;
use super::index::holds;
use super::labels::Labels;
use super::path::Segment;
use super::request::{Caller, caller, finish, method};
use super::state::PublicState;
use crate::access::Visibility;
use crate::registry::{Download, RegistryError};

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let for_get = state.clone();
    warp::path!("api" / "v1" / "crates" / Segment / Segment / "download")
        .and(method(Method::GET))
        .and(caller(state))
        .and(warp::header::headers_cloned())
        .and(warp::method())
        .then(move |krate: Segment, version: Segment, caller, headers, method| {
            let state = for_get.clone();
            async move {
                let response = get(&state, &krate, &version, caller, headers).await;
                if let (true, Ok(name), Ok(version)) = (is_counted(&method, &response), krate.name(), version.version())
                {
                    state.registry.count_download(&name, &version);
                }
                response
            }
        })
        .boxed()
}

async fn get(state: &PublicState, krate: &Segment, version: &Segment, caller: Caller, headers: HeaderMap) -> Response {
    let mut labels = Labels::route("download");
    let result =
        open(state, krate, version, &caller, &mut labels).await.and_then(|download| answer(state, download, &headers));
    finish(result, &caller.base, BadToken::Challenge, labels)
}

async fn open(
    state: &PublicState,
    krate: &Segment,
    version: &Segment,
    caller: &Caller,
    labels: &mut Labels,
) -> Result<Download, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    labels.user = principal.user().map(ToString::to_string);
    let (name, version) = (krate.name()?, version.version()?);
    labels.krate = Some(name.to_string());
    state.registry.download(&principal, &name, &version).await
}

fn answer(state: &PublicState, download: Download, headers: &HeaderMap) -> Result<Response, RegistryError> {
    let etag = format!("\"{}\"", download.cksum);
    let not_modified = holds(headers, &etag);
    let disposition = format!("attachment; filename=\"{}\"", download.file_name);
    let length = download.len;
    let mut response = if not_modified {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        warp::reply::stream(download.body).into_response()
    };
    // The bytes of a version never change.
    let cache = match state.registry.visibility() {
        Visibility::Private => "private, max-age=31536000, immutable",
        Visibility::Public => "public, max-age=31536000, immutable",
    };
    let odd = |error: http::header::InvalidHeaderValue| RegistryError::Internal {
        text: "the crate cannot be sent",
        reason: error.to_string(),
    };
    let map = response.headers_mut();
    map.insert(ETAG, HeaderValue::try_from(etag).map_err(odd)?);
    map.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if !not_modified {
        map.insert(CONTENT_LENGTH, length.into());
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
        map.insert(CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(odd)?);
    }
    Ok(response)
}
