//! What the log and the metrics say about a request, carried from the handler to the outermost layer in the answer's
//! extensions.

use warp::reply::Response;

/// Closed words and names; never a token, a query or a path.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    /// The route, one of few.
    pub(crate) route: &'static str,
    /// Who asked, if a token said so.
    pub(crate) user: Option<String>,
    /// The crate that the path or the body names.
    pub(crate) krate: Option<String>,
    /// Logged only when it fails.
    pub(crate) quiet: bool,
}

impl Default for Labels {
    fn default() -> Self {
        Self::route("none")
    }
}

impl Labels {
    pub(crate) fn route(route: &'static str) -> Self {
        Self { route, user: None, krate: None, quiet: false }
    }

    pub(crate) fn attach(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}
