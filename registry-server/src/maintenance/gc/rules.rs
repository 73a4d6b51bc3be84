//! The rules of the garbage collection, each with the way to break it: a test that breaks one has to see that something is lost.

/// The rules that hold. The default is all of them, and without the feature `test-support` there is no other value.
#[derive(Debug, Clone, Copy, Default)]
pub struct GcRules {
    #[cfg(feature = "test-support")]
    broken: Option<GcMutant>,
}

impl GcRules {
    /// All rules but one.
    #[cfg(feature = "test-support")]
    pub const fn without(mutant: GcMutant) -> Self {
        Self { broken: Some(mutant) }
    }

    /// Whether this rule is broken, for a test.
    #[cfg(feature = "test-support")]
    pub(super) fn broken(self, mutant: GcMutant) -> bool {
        self.broken == Some(mutant)
    }

    /// Never: a constant, so that nothing of a mutant is in the program.
    #[cfg(not(feature = "test-support"))]
    pub(super) const fn broken(self, _: GcMutant) -> bool {
        let _ = self;
        false
    }
}

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
