//! What most requests are: reads of the index and downloads of small crates that memory can answer. They are answered before anything is set up for requests
//! that wait, read a body or stream one: no route is searched, no future is made.
//!
//! Nothing is decided here. The address is recognised, and the very functions that the routes call are asked whether they can answer at once; if
//! not, for whatever reason, the request takes its way through the routes as if nothing had been.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};

use super::error::{self, BadToken};
use super::labels::Labels;
use super::request::Caller;
use super::state::PublicState;
use super::{download, index};
use crate::registry::RegistryError;

/// The answer to a read, if memory has it.
pub fn at_once(
    state: &PublicState,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<(Response<Bytes>, Labels)> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = uri.path();
    // A slash at the end, or one too many, is for the routes to judge.
    let index = path.strip_prefix("/index/").filter(|path| !path.ends_with('/') && !path.starts_with('/'));
    let file = path.strip_prefix("/api/v1/crates/").and_then(|path| path.strip_suffix("/download"));
    if index.is_none() && file.is_none() {
        return None;
    }
    let site = state.sites.seen(uri, headers)?;
    let caller = Caller::new(site, headers);
    let mut labels = Labels::default();
    let result = match (index, file) {
        (Some("config.json"), _) => index::config_at_once(state, &caller, &mut labels),
        (Some(path), _) => index::file_at_once(state, path, &caller, headers, &mut labels),
        (None, Some(path)) => download::at_once(state, path, &caller, (method, headers), &mut labels),
        (None, None) => None,
    };
    let response = match result? {
        Ok(response) => response,
        // What the log has more to say about is said under the request's id, which it gets on its way through the routes.
        Err(error) if error.cause().is_some() || matches!(error, RegistryError::NotReady(_)) => return None,
        Err(error) => error::in_memory(&error, &caller.base, BadToken::Challenge),
    };
    Some((response, labels))
}
