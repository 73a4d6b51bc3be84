//! Who may do what. One decision for the index, search, the API, downloads and pages ([`decide()`]).
//!
//! Pure: no store, no clock, no thread random number generator.
//!
//! - [`verb`], [`grant`]: what a token may do, on which crates;
//! - [`token`]: the secret itself, its form and its hash; never printed;
//! - [`record`]: what the bucket keeps of a token;
//! - [`principal`]: who is asking;
//! - [`decide()`]: the decision.
//!
//! What must never exist here: a second way to decide, a secret in an error or in `Debug`, a comparison of secrets
//! (tokens are looked up by their hash).

pub mod decide;
pub mod grant;
pub mod principal;
pub mod record;
pub mod token;
pub mod verb;

pub use decide::{Action, Decision, Denial, Reader, Target, Visibility, decide, enter};
pub use grant::{CratePattern, Grant};
pub use principal::Principal;
pub use record::{NewToken, TokenRecord};
pub use token::{TokenHash, TokenSecret};
pub use verb::Verb;
