//! What a check found: the form of `fsck --json`. Fields and codes are added, never changed.

use jiff::Timestamp;
use serde::Serialize;

/// How many keys that are not ours are named; all are counted.
const FOREIGN_NAMED_MAX: usize = 100;

/// What to do about a file that nothing names because its crate has no record.
pub(super) const GHOST_OF_NO_CRATE: &str = "if the crate was deleted past the registry, restore its record from a backup: `supercargo-registry gc --dry-run=false` deletes the files 30 days after it first saw them without one. If nobody ever published it, nothing needs them";

/// What is wrong, as a word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The format object is missing, or unreadable.
    Format,
    /// The head cannot be read.
    HeadUnreadable,
    /// The head announces a change that the record does not have, and nobody is writing.
    HeadAhead,
    /// A crate's record cannot be read, or contradicts itself.
    RecordUnreadable,
    /// A crate's record is gone, although the store's history has one.
    RecordMissing,
    /// A crate has files and no record, and whether the store's history has one cannot be read.
    HistoryUnreadable,
    /// A token's record cannot be read.
    TokenUnreadable,
    /// A writer left its mark and died.
    DeadMark,
    /// A version's file is not there.
    FileMissing,
    /// A version's file has another length than the record says.
    FileLength,
    /// A version's file has other content than its checksum says.
    FileContent,
    /// A version's file cannot be read.
    FileUnreadable,
    /// A file that nothing names, older than three days.
    Ghost,
    /// A change is not in the audit log.
    AuditMissing,
    /// The list of crates for search cannot be used.
    CatalogUnreadable,
    /// Downloads that were counted cannot be read.
    DownloadsUnreadable,
    /// Downloads that were counted are gone.
    DownloadsMissing,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What it is.
    pub code: Code,
    /// The object that it is about, without the configured prefix.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// Whether `--repair` mended it.
    pub repaired: bool,
    /// What the repair did, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

/// How much was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Crates that somebody has published, deleted ones too.
    pub crates: u64,
    /// Of them, those that are deleted.
    pub deleted_crates: u64,
    /// Names that were reserved by a publish that never came to its end; they are free.
    pub reserved_names: u64,
    /// Versions of all crates.
    pub versions: u64,
    /// Stored files.
    pub files: u64,
    /// Their lengths, in bytes.
    pub file_bytes: u64,
    /// Bytes that were read to compare checksums.
    pub bytes_compared: u64,
    /// Tokens.
    pub tokens: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Crates in the stored list for search.
    pub catalog_crates: u64,
    /// Downloads that wait to be added up, in objects.
    pub downloads_deltas: u64,
    /// Objects whose keys are not ours. They are left alone.
    pub foreign: u64,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// 1.
    pub schema: u32,
    /// Where.
    pub store: String,
    /// When it began, by the store's clock.
    pub at: Timestamp,
    /// Whether every file was read.
    pub deep: bool,
    /// Whether it was to mend what it can.
    pub repair: bool,
    /// How much was looked at.
    pub counts: Counts,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The first keys that are not ours.
    pub foreign: Vec<String>,
}

impl Report {
    pub(super) fn new(store: String, at: Timestamp, deep: bool, repair: bool) -> Self {
        let (counts, problems, foreign) = (Counts::default(), Vec::new(), Vec::new());
        Self { schema: 1, store, at, deep, repair, counts, problems, foreign }
    }

    pub(super) fn add_foreign(&mut self, keys: Vec<String>) {
        self.counts.foreign += keys.len() as u64;
        let room = FOREIGN_NAMED_MAX.saturating_sub(self.foreign.len());
        self.foreign.extend(keys.into_iter().take(room));
    }

    /// How many problems are left.
    pub fn left(&self) -> usize {
        self.problems.iter().filter(|problem| !problem.repaired).count()
    }
}

impl Code {
    /// What to do about it.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Format => {
                "check that the configuration names the right bucket and prefix; restore the object from a backup"
            }
            Self::HeadUnreadable => {
                "delete v1/head while no server runs: it is made again, and only costs every replica its memory"
            }
            Self::HeadAhead => {
                "was a single object put back to an older state? `fsck --repair` has replicas forget later ones, and says which changes are lost, as far as the audit log knows"
            }
            Self::RecordUnreadable => {
                "`fsck --repair` puts the state before back if the bucket has versioning, or says which changes would be lost with that, or may be; else restore the object from a backup"
            }
            Self::RecordMissing => {
                "`fsck --repair` puts the last state back; if the crate is to be gone, restore it and delete it with `supercargo-registry crate delete`"
            }
            Self::HistoryUnreadable => {
                "give the credentials of `fsck` the rights s3:ListBucketVersions and s3:GetObjectVersion, and check again: if the record was deleted, `fsck --repair` puts it back. Until then do not take its files for garbage: `gc` deletes them 30 days after it first saw them without a record"
            }
            Self::FileMissing | Self::FileLength | Self::FileContent => {
                "`fsck --repair` puts it back if the bucket has versioning; else restore the object from a backup"
            }
            Self::TokenUnreadable => {
                "it lets nobody in, and is not put back: an earlier state may be one from before it was revoked. Make a new token; restore this one by hand only if you know that it was not revoked"
            }
            Self::DeadMark => "nothing is lost: the next change clears it, or `fsck --repair`",
            Self::FileUnreadable => "see what the store says; check again when it answers",
            Self::Ghost => "nothing needs it: `supercargo-registry gc --dry-run=false`, twice, deletes it",
            Self::AuditMissing => "`fsck --repair` writes it from the record",
            Self::CatalogUnreadable => {
                "no search misses anything: it reads the records, and the next server that starts, or the next changes, write the list anew"
            }
            Self::DownloadsUnreadable | Self::DownloadsMissing => {
                "only numbers of downloads wait; nothing writes over them. `fsck --repair` puts the object back if the bucket has versioning; else restore it from a backup, or give it up: delete the total, or the deltas of that counter, and their numbers with it"
            }
        }
    }

    /// The code as a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::HeadUnreadable => "head-unreadable",
            Self::HeadAhead => "head-ahead",
            Self::RecordUnreadable => "record-unreadable",
            Self::RecordMissing => "record-missing",
            Self::HistoryUnreadable => "history-unreadable",
            Self::TokenUnreadable => "token-unreadable",
            Self::DeadMark => "dead-mark",
            Self::FileMissing => "file-missing",
            Self::FileLength => "file-length",
            Self::FileContent => "file-content",
            Self::FileUnreadable => "file-unreadable",
            Self::Ghost => "ghost",
            Self::AuditMissing => "audit-missing",
            Self::CatalogUnreadable => "catalog-unreadable",
            Self::DownloadsUnreadable => "downloads-unreadable",
            Self::DownloadsMissing => "downloads-missing",
        }
    }
}
