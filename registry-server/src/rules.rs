//! Rules that can be broken one at a time: a test that breaks one has to see that something notices.
//!
//! `M` names the rules of one module, its mutants. In the program no rule can be broken: nothing of a mutant is compiled into it.

use std::marker::PhantomData;

/// The rules that hold. The default is all of them, and without the feature `test-support` there is no other value.
#[derive(Debug, Clone, Copy)]
pub struct Rules<M> {
    #[cfg(feature = "test-support")]
    broken: Option<M>,
    of: PhantomData<M>,
}

impl<M> Default for Rules<M> {
    fn default() -> Self {
        Self {
            #[cfg(feature = "test-support")]
            broken: None,
            of: PhantomData,
        }
    }
}

impl<M: Copy + PartialEq> Rules<M> {
    /// All rules but one.
    #[cfg(feature = "test-support")]
    pub const fn without(mutant: M) -> Self {
        Self { broken: Some(mutant), of: PhantomData }
    }

    /// Whether this rule is broken, for a test.
    #[cfg(feature = "test-support")]
    pub(crate) fn broken(self, mutant: M) -> bool {
        self.broken == Some(mutant)
    }

    /// Never: a constant.
    #[cfg(not(feature = "test-support"))]
    pub(crate) const fn broken(self, _: M) -> bool {
        let _ = self;
        false
    }
}
