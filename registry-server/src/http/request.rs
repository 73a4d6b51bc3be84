//! What every handler of the public listener knows about its request: the base URL that the client used, and the
//! credential that it sent.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method};
use warp::host::Authority;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::error::{self, BadToken};
use super::labels::Labels;
use super::site::Site;
use super::state::PublicState;
use crate::access::Principal;
use crate::config::BaseUrl;
use crate::krate::release::OwnIndexUrls;
use crate::registry::{Registry, RegistryError};

/// A request's surroundings. It turns a handler's result into the answer.
#[derive(Debug)]
pub(super) struct Caller {
    /// `public.url`, or what the client asked for.
    pub(super) base: BaseUrl,
    site: Arc<Site>,
    credential: Credential,
}

/// What stands in `Authorization`. No `Debug`: it is a secret.
#[derive(Clone)]
enum Credential {
    None,
    /// The whole value.
    Token(HeaderValue),
    /// More than one, or not text.
    Unreadable,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Token(_) => "a token",
            Self::Unreadable => "unreadable",
        })
    }
}

impl Credential {
    fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(value), None) if value.to_str().is_ok() => Self::Token(value.clone()),
            _ => Self::Unreadable,
        }
    }

    /// Cargo sends the bare token; people and proxies write `Bearer` before it.
    fn token(value: &HeaderValue) -> &str {
        let text = value.to_str().unwrap_or_default().trim();
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
            _ => text,
        }
    }
}

impl Caller {
    pub(super) fn new(site: Arc<Site>, headers: &HeaderMap) -> Self {
        Self { base: site.base.clone(), site, credential: Credential::read(headers) }
    }

    /// Whether the caller reaches this registry at the host and port of `url`: there it would send its credential too.
    pub(super) fn reaches_us_at(&self, url: &str) -> bool {
        let Ok(url) = url.parse::<http::Uri>() else { return true };
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return true };
        let Ok(url) = BaseUrl::parse(&format!("{scheme}://{authority}")) else { return true };
        [Some(&self.base), self.site.asked.as_ref()].into_iter().flatten().any(|own| own.host() == url.host())
    }

    /// The body of `config.json` for this caller.
    pub(super) fn config(&self) -> &Bytes {
        &self.site.config
    }

    /// The index URLs under which this registry may be known to its users: dependencies on them are dependencies on itself.
    pub(super) fn own_index_urls(&self) -> OwnIndexUrls {
        OwnIndexUrls::new([&self.base].into_iter().chain(&self.site.asked).map(BaseUrl::index))
    }

    /// Finds out who asks, if memory can tell; anonymous if the request carries no credential and the registry lets anonymous read.
    ///
    /// # Errors
    /// As [`Caller::authenticate`].
    pub(super) fn authenticate_at_once(&self, registry: &Registry) -> Option<Result<Principal, RegistryError>> {
        match &self.credential {
            Credential::None => Some(registry.anonymous()),
            Credential::Token(value) => registry.authenticate_at_once(Credential::token(value)),
            Credential::Unreadable => {
                let text = "the request has more than one Authorization header, or one that is not text".to_owned();
                Some(Err(RegistryError::Unauthenticated { had_token: true, text }))
            }
        }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// The token does not hold, the store does not answer.
    pub(super) async fn authenticate(&self, registry: &Registry) -> Result<Principal, RegistryError> {
        match (self.authenticate_at_once(registry), &self.credential) {
            (Some(answer), _) => answer,
            (None, Credential::Token(value)) => registry.authenticate(Credential::token(value)).await,
            (None, Credential::None | Credential::Unreadable) => registry.anonymous(),
        }
    }
}

/// The surroundings of every request.
pub(super) fn caller(state: &PublicState) -> impl Filter<Extract = (Caller,), Error = Rejection> + Clone + use<> {
    let sites = state.sites.clone();
    warp::host::optional().and(warp::header::headers_cloned()).and_then(
        move |authority: Option<Authority>, headers: HeaderMap| {
            let site = sites.of(authority.as_ref());
            let caller = site.map(|site| Caller::new(site, &headers));
            std::future::ready(caller.ok_or_else(|| warp::reject::custom(OddHost)))
        },
    )
}

/// The request does not say for which host it is.
#[derive(Debug)]
pub(super) struct OddHost;

impl warp::reject::Reject for OddHost {}

impl OddHost {
    pub(super) fn reply() -> Response {
        error::reply(http::StatusCode::BAD_REQUEST, &format!("the request has no usable {HOST} header"))
    }
}

/// The path is right and the method is not.
#[derive(Debug)]
pub(super) struct WrongMethod(pub(super) &'static str);

impl warp::reject::Reject for WrongMethod {}

/// Lets `method` through; `HEAD` also where it is `GET`. To be put right behind the path, so that a wrong method is told apart from a
/// wrong path.
pub(super) fn method(method: Method) -> impl Filter<Extract = (), Error = Rejection> + Clone {
    let allow = match method {
        Method::GET => "GET, HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "POST",
    };
    warp::method()
        .and_then(move |asked: Method| {
            let right = asked == method || (asked == Method::HEAD && method == Method::GET);
            std::future::ready(if right { Ok(()) } else { Err(warp::reject::custom(WrongMethod(allow))) })
        })
        .untuple_one()
}

/// The end of every handler: the result becomes an answer, with labels for the log and the metrics.
pub(super) fn finish(
    result: Result<impl IntoResponse, RegistryError>,
    base: &BaseUrl,
    bad_token: BadToken,
    labels: Labels,
) -> Response {
    let response = result.map(IntoResponse::into_response);
    labels.attach(response.unwrap_or_else(|error| error::registry(&error, base, bad_token)))
}

/// What a read comes to whose answer is in memory.
pub(super) type Whole = Result<http::Response<Bytes>, RegistryError>;

/// An answer whose body is in memory, or any other.
pub(super) trait IntoResponse {
    fn into_response(self) -> Response;
}

impl IntoResponse for http::Response<Bytes> {
    fn into_response(self) -> Response {
        self.map(Into::into)
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}
