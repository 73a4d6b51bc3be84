//! The rules of the garbage collection, each with the way to break it: a test that breaks one has to see that something is lost.

/// The rules that hold.
pub type GcRules = crate::rules::Rules<GcMutant>;

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcMutant {
    /// Everything is old enough.
    NoGrace,
    /// A crate with a write under way is not left alone.
    MarksIgnored,
    /// What a plan names is deleted without another look.
    NoSecondLook,
}
