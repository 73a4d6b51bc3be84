//! Jobs over the whole store, above the registry and beside its requests: nothing that a user waits for.
//!
//! - [`sweep`]: a server clears the marks that dead writers left.
//! - [`fsck`]: everything is checked, and what can be mended without loss is.
//! - [`gc`]: files that nothing names go, in two runs.
//! - `survey`: how those two read a store; [`Progress`]: how far they are.
//!
//! What must never exist here: a listing on the path of a request; a write past the registry's one loop, except of keys that nobody else
//! writes; a deletion on a failure path.

pub mod fsck;
pub mod gc;
mod progress;
mod survey;
pub mod sweep;

pub use self::progress::Progress;
