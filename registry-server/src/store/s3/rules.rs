//! The rules of this adapter, each with the way to break it: a test that breaks one has to see what goes wrong.

/// The rules that hold.
pub type S3Rules = crate::rules::Rules<S3Mutant>;

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Mutant {
    /// The SDK sends a conditional put again when no answer came.
    ConditionalPutRepeated,
}
