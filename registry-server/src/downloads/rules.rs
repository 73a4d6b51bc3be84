//! The rules of this module, each with the way to break it: a test that breaks one has to see the simulation notice.

/// The rules that hold.
pub type Rules = crate::rules::Rules<Mutant>;

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// After a refused or unclear swap the same sums are added to the total that is there now.
    FoldRetriedBlindly,
    /// Deltas are deleted as soon as they are added, before a total that names them was read back.
    DeletedBeforeNamed,
    /// A delta whose outcome is unknown is stored again under another number.
    RenumberedAfterUnknown,
    /// A delta is added although one before it is not listed.
    GapFolded,
    /// A counter whose deltas are gone is forgotten at once.
    ForgottenAtOnce,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::FoldRetriedBlindly,
        Self::DeletedBeforeNamed,
        Self::RenumberedAfterUnknown,
        Self::GapFolded,
        Self::ForgottenAtOnce,
    ];
}
