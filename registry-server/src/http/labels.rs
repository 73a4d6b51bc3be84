//! What the log and the metrics say about a request, carried from the handler to the outermost layer in the answer's
//! extensions.

use http::StatusCode;
use warp::reply::Response;

use crate::access::Principal;
use crate::krate::CrateName;

/// Closed words and names; never a token, a query or a path.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The route, one of few.
    pub(crate) route: &'static str,
    /// Who asked, if a token said so.
    who: Option<Principal>,
    /// The crate that the path or the body names.
    pub(super) krate: Option<CrateName>,
    /// Logged only when it fails.
    pub(super) quiet: bool,
}

impl Default for Labels {
    fn default() -> Self {
        Self::route("none")
    }
}

impl Labels {
    pub(crate) fn route(route: &'static str) -> Self {
        Self { route, who: None, krate: None, quiet: false }
    }

    /// A route that only reads, and is asked so often that the log would hold nothing else.
    pub(crate) fn read(route: &'static str) -> Self {
        Self { quiet: true, ..Self::route(route) }
    }

    /// Who asked.
    pub(super) fn by(&mut self, principal: &Principal) {
        self.who = Some(principal.clone());
    }

    /// The crate that it is about.
    pub(super) fn about(&mut self, name: &CrateName) {
        self.krate = Some(name.clone());
    }

    /// The user who asked.
    pub(crate) fn user(&self) -> Option<&str> {
        self.who.as_ref().and_then(Principal::user).map(|user| user.as_str())
    }

    /// The crate that it is about.
    pub(crate) fn krate(&self) -> Option<&str> {
        self.krate.as_ref().map(CrateName::as_str)
    }

    /// Whether an answer with this status is worth a line in the log of a busy server. That there is no such crate is not: Cargo asks for
    /// every spelling of a name.
    pub(crate) fn is_worth_a_line(&self, status: StatusCode) -> bool {
        !self.quiet || !(status.is_success() || status.is_redirection() || status == StatusCode::NOT_FOUND)
    }

    pub(crate) fn attach(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}
