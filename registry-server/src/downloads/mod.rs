//! Downloads, counted once each. Pure: nothing here waits, reads a clock or touches a store.
//!
//! Flow: a process counts in memory ([`Counter`]), and every minute stores what it has as a delta under a key of its own, numbered without gaps; it
//! begins the next only when the last is stored for certain, and repeats it under the same key until it is. Once an hour some process
//! adds the deltas to the total ([`Total`]) and replaces that by compare-and-swap. The total names, for each counter, the last
//! delta that is in it; so a delta is in the total exactly if its number is not above that, whoever added it and whatever became of the
//! answer. Deltas are deleted when a total that was read from the store names them.
//!
//! One object holds numbers and names, so no crash can come between them; there is no second file to point to, and none to clean up.
//!
//! Guarantees: a delta that was stored is in the total once, however often it is written, listed, read or added, and however late. Caveats:
//! what a process counted since its last delta is lost when it is killed; a counter's name is forgotten 30 days and [`GENERATIONS_KEPT`] totals
//! after its last delta, and a write that lands later still would count again.
//!
//! What must never exist here: a sum that was computed from one total and is stored on another; a delta added over a gap.
//!
//! [`GENERATIONS_KEPT`]: total::GENERATIONS_KEPT

pub mod counter;
pub mod counts;
pub mod rules;
pub mod total;

pub use self::counter::{Counter, Delta};
pub use self::counts::Counts;
pub use self::rules::{Mutant, Rules};
pub use self::total::{Plan, Total};
