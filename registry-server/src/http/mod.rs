//! HTTP: Cargo's protocol on the public listener, probes, metrics and administration on the internal one. Filters and thin
//! handlers, one file per verb; what they do is in [`crate::registry`].
//!
//! | route | file |
//! |---|---|
//! | `GET /index/config.json`, `GET /index/{path}` | `index.rs` |
//! | `PUT /api/v1/crates/new` | `publish.rs`, with `upload.rs` |
//! | `GET /api/v1/crates/{crate}/{version}/download` | `download.rs`, with `range.rs` |
//! | `DELETE …/{version}/yank`, `PUT …/{version}/unyank` | `yank.rs` |
//! | `GET`, `PUT`, `DELETE /api/v1/crates/{crate}/owners` | `owners.rs` |
//! | `GET /api/v1/crates?q=` | `search.rs` |
//! | `GET /`, `GET /me` | `pages.rs` |
//! | `GET /livez`, `/readyz`, `/metrics` | `health.rs` |
//! | `PUT`, `GET`, `DELETE /admin/v1/tokens/{sha256}`, `/admin/v1/crates/{crate}` | `admin.rs` |
//! | `POST /peer/v1/notices` | `notices.rs` |
//!
//! `at_once.rs` answers what memory can answer, before the routes. `request.rs` is what every handler gets, `site.rs` what follows from the host, `error.rs` which status and which text an error has, `labels.rs` what is logged and counted.

mod admin;
mod at_once;
mod body;
mod counted;
pub mod credential;
mod download;
pub(crate) mod error;
mod health;
mod index;
pub(crate) mod labels;
mod notices;
mod owners;
mod pages;
mod path;
mod publish;
mod range;
mod request;
mod search;
mod site;
mod state;
mod upload;
mod yank;

use std::convert::Infallible;

use http::StatusCode;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

pub use self::at_once::at_once;
pub use self::labels::Labels;
use self::request::{OddHost, WrongMethod};
pub use self::state::{InternalState, PublicState};

/// The routes of the public listener; every rejection is answered.
pub fn public_routes(state: &PublicState) -> BoxedFilter<(Response,)> {
    let index = index::routes(state).or(download::routes(state)).unify().boxed();
    let write = publish::routes(state).or(yank::routes(state)).unify().or(owners::routes(state)).unify().boxed();
    let rest = search::routes(state).or(pages::routes(state)).unify().boxed();
    index.or(write).unify().or(rest).unify().recover(recover).unify().boxed()
}

/// The routes of the internal listener; every rejection is answered.
pub fn internal_routes(state: &InternalState) -> BoxedFilter<(Response,)> {
    let rest = admin::routes(state).or(notices::routes(state)).unify().boxed();
    health::routes(state).or(rest).unify().recover(recover).unify().boxed()
}

async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    if let Some(WrongMethod(allow)) = rejection.find() {
        return Ok(error::method_not_allowed(allow));
    }
    if rejection.find::<OddHost>().is_some() {
        return Ok(OddHost::reply());
    }
    if rejection.is_not_found() {
        return Ok(error::reply(StatusCode::NOT_FOUND, "this registry has no such address"));
    }
    // What is left is about the form of the request: a query or a header that does not parse.
    tracing::debug!(?rejection, "refused by a filter");
    Ok(error::reply(StatusCode::BAD_REQUEST, "the request has a query or a header that cannot be read"))
}
