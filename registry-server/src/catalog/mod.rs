//! What search knows of all crates. Pure: nothing here waits, reads a clock or touches a store.
//!
//! Reading order: [`row`] (one crate), [`query`] (what is asked for), [`fit`] (how well a crate fits, plainly), [`base`] (many rows packed for the
//! same answer at speed), [`table`] (a base and what has changed since), [`file`](mod@file) (how all that is stored), [`follow`] (which records
//! have to be read again).
//!
//! A catalog is derived from the crate records and can be made from them again; it decides nothing but what a search shows.
//!
//! What must never exist here: a decision about who may read what (the caller hands it in); an answer that depends on whether a row is in the
//! base or has changed since.

pub mod base;
pub mod file;
pub mod fit;
pub mod follow;
pub mod query;
pub mod row;
pub mod table;

pub use self::base::Base;
pub use self::file::{Current, is_surplus};
pub use self::follow::{Follow, Gap, Position};
pub use self::query::{Query, QueryError, Sort};
pub use self::row::Row;
pub use self::table::{Found, Hit, Table};
