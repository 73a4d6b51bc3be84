//! What every handler of the public listener knows about its request: the base URL that the client used, and the
//! credential that it sent.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method};
use warp::host::Authority;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::error::{self, BadToken};
use super::labels::Labels;
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
    /// What the client asked for, if that can be told: it differs from `base` where a registry has several addresses.
    asked: Option<BaseUrl>,
    credential: Credential,
}

/// What stands in `Authorization`. No `Debug`: it is a secret.
enum Credential {
    None,
    Token(String),
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
    /// Cargo sends the bare token; people and proxies write `Bearer` before it.
    fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (values.next(), values.next());
        let Some(value) = first else { return Self::None };
        match value.to_str() {
            Ok(text) if second.is_none() => {
                let text = text.trim();
                let token = match text.split_once(' ') {
                    Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
                    _ => text,
                };
                Self::Token(token.to_owned())
            }
            _ => Self::Unreadable,
        }
    }
}

impl Caller {
    /// The index URLs under which this registry may be known to its users: dependencies on them are dependencies on itself.
    pub(super) fn own_index_urls(&self) -> OwnIndexUrls {
        OwnIndexUrls::new([&self.base].into_iter().chain(&self.asked).map(BaseUrl::index))
    }

    /// Finds out who asks; anonymous if the request carries no credential and the registry lets anonymous read.
    ///
    /// # Errors
    /// The token does not hold, the store does not answer.
    pub(super) async fn authenticate(&self, registry: &Registry) -> Result<Principal, RegistryError> {
        match &self.credential {
            Credential::None => registry.anonymous(),
            Credential::Token(token) => registry.authenticate(token).await,
            Credential::Unreadable => {
                let text = "the request has more than one Authorization header, or one that is not text".to_owned();
                Err(RegistryError::Unauthenticated { had_token: true, text })
            }
        }
    }
}

/// The surroundings of every request.
pub(super) fn caller(state: &PublicState) -> impl Filter<Extract = (Caller,), Error = Rejection> + Clone + use<> {
    let (public_url, scheme) = (state.public_url.clone(), if state.tls { "https" } else { "http" });
    warp::host::optional().and(warp::header::headers_cloned()).and_then(
        move |authority: Option<Authority>, headers: HeaderMap| {
            let asked = authority.and_then(|authority| BaseUrl::parse(&format!("{scheme}://{authority}")).ok());
            let base = public_url.clone().or_else(|| asked.clone());
            let caller = base.map(|base| Caller { base, asked, credential: Credential::read(&headers) });
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
    result: Result<Response, RegistryError>,
    base: &BaseUrl,
    bad_token: BadToken,
    labels: Labels,
) -> Response {
    let response = result.unwrap_or_else(|error| error::registry(&error, base, bad_token));
    labels.attach(response)
}
