//! `GET /api/v1/crates/{crate}/{version}/download`: the `.crate` file, or a part of it; from memory, or streamed with constant memory.

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    InvalidHeaderValue, LOCATION,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};

use super::counted::is_counted;
use super::error::BadToken;
use super::index::holds;
use super::labels::Labels;
use super::path::Segment;
use super::range::{Wanted, wanted};
use super::request::{Caller, Whole, caller, finish, method};
use super::state::PublicState;
use crate::access::{Principal, Visibility};
use crate::krate::{CrateName, Version};
use crate::registry::{Content, Download, RegistryError};

/// How many headers an answer has at most.
const HEADERS: usize = 12;

pub(super) fn routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let for_get = state.clone();
    warp::path!("api" / "v1" / "crates" / Segment / Segment / "download")
        .and(method(Method::GET))
        .and(caller(state))
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .then(move |krate, version, caller, method, headers| {
            get(for_get.clone(), [krate, version], caller, method, headers)
        })
        .boxed()
}

async fn get(state: PublicState, path: [Segment; 2], caller: Caller, method: Method, headers: HeaderMap) -> Response {
    let mut labels = Labels::read("download");
    let result = answer(&state, &path, &caller, (&method, &headers), &mut labels).await;
    finish(result, &caller.base, BadToken::Challenge, labels)
}

async fn answer(
    state: &PublicState,
    path: &[Segment; 2],
    caller: &Caller,
    request: (&Method, &HeaderMap),
    labels: &mut Labels,
) -> Result<Response, RegistryError> {
    let principal = caller.authenticate(&state.registry).await?;
    let (name, version) = parts(path, &principal, labels)?;
    let download = state.registry.download(&principal, &name, &version).await?;
    let answer = Answer::to(state, &download, request)?;
    let response = send(state, &download, answer, caller, request.0).await?;
    if is_counted(request.0, &response) {
        state.registry.count_download(&name, &version);
    }
    Ok(response)
}

async fn send(
    state: &PublicState,
    download: &Download,
    answer: Answer,
    caller: &Caller,
    method: &Method,
) -> Result<Response, RegistryError> {
    if answer.sends().is_some()
        && *method == Method::GET
        && download.len() > state.downloads.redirect_above_bytes
        && let Some(url) = state.registry.presign(download, |url| !caller.reaches_us_at(url)).await
    {
        return elsewhere(&url);
    }
    let Some(part) = answer.sends() else { return Ok(answer.whole(Bytes::new()).map(Into::into)) };
    Ok(match state.registry.content(download, part).await? {
        Content::Whole(bytes) => answer.whole(bytes).map(Into::into),
        Content::Stream(body) => answer.stream(warp::reply::stream(body).into_response()),
    })
}

/// Sends the client to the store. A URL that is signed for GET holds for nothing else; Cargo drops its credential on the way to another
/// host or port, and must: S3 takes one at a time.
fn elsewhere(url: &str) -> Result<Response, RegistryError> {
    let location = HeaderValue::try_from(url).map_err(odd)?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

fn odd(error: InvalidHeaderValue) -> RegistryError {
    RegistryError::Internal { text: "the crate cannot be sent", reason: error.to_string() }
}

/// The answer, if memory knows who asks and has the bytes. `path`: what stands between `/api/v1/crates/` and `/download`.
pub(super) fn at_once(
    state: &PublicState,
    path: &str,
    caller: &Caller,
    request: (&Method, &HeaderMap),
    labels: &mut Labels,
) -> Option<Whole> {
    let (krate, version) = path.split_once('/')?;
    // What the routes make of other paths is theirs to say.
    let path = [krate.parse().ok()?, version.parse().ok().filter(|_| !version.contains('/'))?];
    *labels = Labels::read("download");
    let principal = match caller.authenticate_at_once(&state.registry)? {
        Ok(principal) => principal,
        Err(error) => return Some(Err(error)),
    };
    let (name, version) = match parts(&path, &principal, labels) {
        Ok(parts) => parts,
        Err(error) => return Some(Err(error)),
    };
    let download = match state.registry.download_at_once(&principal, &name, &version)? {
        Ok(download) => download,
        Err(error) => return Some(Err(error)),
    };
    let answer = match Answer::to(state, &download, request) {
        Ok(answer) => answer,
        Err(error) => return Some(Err(error)),
    };
    let bytes = match answer.sends() {
        // What is sent elsewhere is sent so always.
        Some(_) if download.len() > state.downloads.redirect_above_bytes => return None,
        Some(part) => state.registry.content_at_once(&download, part)?,
        None => Bytes::new(),
    };
    let response = answer.whole(bytes);
    if is_counted(request.0, &response) {
        state.registry.count_download(&name, &version);
    }
    Some(Ok(response))
}

fn parts(
    [krate, version]: &[Segment; 2],
    principal: &Principal,
    labels: &mut Labels,
) -> Result<(CrateName, Version), RegistryError> {
    labels.by(principal);
    let (name, version) = (krate.name()?, version.version()?);
    labels.about(&name);
    Ok((name, version))
}

/// The head of an answer, and what of the file is to follow.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// `None`: nothing of the file.
    sends: Option<Option<Range<u64>>>,
}

impl Answer {
    fn to(
        state: &PublicState,
        download: &Download,
        (method, headers): (&Method, &HeaderMap),
    ) -> Result<Self, RegistryError> {
        let (etag, len) = (HeaderValue::try_from(format!("\"{}\"", download.cksum())).map_err(odd)?, download.len());
        // The bytes of a version never change.
        let cache = match state.registry.visibility() {
            Visibility::Private => "private, max-age=31536000, immutable",
            Visibility::Public => "public, max-age=31536000, immutable",
        };
        let mut answer = Self { status: StatusCode::OK, headers: HeaderMap::with_capacity(HEADERS), sends: None };
        let map = &mut answer.headers;
        map.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        if holds(headers, &etag) {
            map.insert(ETAG, etag);
            answer.status = StatusCode::NOT_MODIFIED;
            return Ok(answer);
        }
        map.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let part = match wanted(method, headers, &etag, len) {
            Wanted::Nothing => {
                map.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                map.insert(CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{len}")).map_err(odd)?);
                answer.status = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(answer);
            }
            Wanted::Whole => None,
            Wanted::Part(part) => {
                let range = format!("bytes {}-{}/{len}", part.start, part.end - 1);
                map.insert(CONTENT_RANGE, HeaderValue::try_from(range).map_err(odd)?);
                answer.status = StatusCode::PARTIAL_CONTENT;
                Some(part)
            }
        };
        map.insert(ETAG, etag);
        map.insert(CONTENT_LENGTH, part.as_ref().map_or(len, |part| part.end - part.start).into());
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
        let disposition = format!("attachment; filename=\"{}\"", download.file_name());
        map.insert(CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(odd)?);
        answer.sends = Some(part);
        Ok(answer)
    }

    /// What of the file follows: `Some(None)` all of it.
    fn sends(&self) -> Option<Option<&Range<u64>>> {
        self.sends.as_ref().map(Option::as_ref)
    }

    fn whole(self, bytes: Bytes) -> http::Response<Bytes> {
        let mut response = http::Response::new(bytes);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    fn stream(self, mut response: Response) -> Response {
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
