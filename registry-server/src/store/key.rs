//! The layout of the bucket: every object key that this program reads or writes, as a type.
//!
//! | key | write | holds |
//! |---|---|---|
//! | `v1/meta/format` | create | format version and registry id |
//! | `v1/crate/{h2}/{canon}` | compare-and-swap | the crate record |
//! | `v1/blob/{canon}/{version}/{sha256}-{ulid}` | plain, never the same key twice | the `.crate` file |
//! | `v1/token/{h2}/{sha256}` | compare-and-swap | a token, by its hash |
//! | `v1/catalog/{seq}-{ulid}` | plain, never the same key twice | what search knows of all crates |
//! | `v1/catalog/current` | compare-and-swap | which catalog file counts |
//! | `v1/downloads/delta/{ulid}/{number}` | plain, never the same key with other bytes | downloads that one process counted |
//! | `v1/downloads/total` | compare-and-swap | all downloads, and which deltas are in it |
//! | `v1/audit/{yyyy}/{mm}/{dd}/{hh}/{op}` | create | who changed what, one object per change; `gc-{ulid}` for `{op}`: what a garbage collection deleted |
//! | `v1/gc/plan/{ulid}` | create | blobs that a garbage collection may delete later |
//! | `v1/probe/{ulid}/{name}` | any | the start-up proof; deleted when it ends |
//!
//! `h2` is the first two hexadecimal digits of a SHA-256: of the canonical name for a crate, the digest itself for a token. It
//! spreads the keys over the partitions of a large store and lets a listing run in 256 parallel parts.
//!
//! Invariants. Keys consist of `[A-Za-z0-9._/-]` only: no S3 server, proxy or file system has to escape one, so none can escape it
//! wrongly (`+` is read as a space by some; the `+` of a version's build metadata is therefore stored as `_`, which no version
//! contains, as Helm does for OCI tags). No key is another key plus `/…`, because some stores cannot hold both. No segment is
//! `.` or `..`, or starts with a dot.
//!
//! Later versions of this program add keys and never change these. A key that does not parse is another's object: listings skip
//! and count it, and nothing here ever deletes it.

use std::fmt::{self, Write as _};

use ulid::Ulid;

use super::Sha256Digest;

/// The longest version text in a key, in bytes. With it the longest key is below 400 bytes (S3 allows 1024, a file name 255).
pub const VERSION_BYTES_MAX: usize = 160;
/// The longest crate name, in bytes, as on crates.io.
pub const NAME_BYTES_MAX: usize = 64;
/// How the name of an entry of the audit log begins that is a garbage collection's.
const COLLECTION: &str = "gc-";
/// The longest name of a probe object, in bytes.
const PROBE_BYTES_MAX: usize = 64;

/// The address of one object, below the configured prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The format version and the registry's id.
    Format,
    /// The head: what changed last, and which replicas serve from memory.
    Head,
    /// The record of one crate: the only commit point for it.
    Crate(CanonicalName),
    /// The bytes of one `.crate` file, as one upload attempt stored them.
    Blob {
        /// The crate.
        krate: CanonicalName,
        /// The version.
        version: KeyVersion,
        /// SHA-256 of the bytes.
        sha256: Sha256Digest,
        /// The attempt that uploaded them: makes the key unique for ever.
        attempt: Ulid,
    },
    /// A token, by the SHA-256 of its text.
    Token(Sha256Digest),
    /// Which catalog file counts.
    CatalogCurrent,
    /// What search knows of all crates, as one compaction wrote it.
    Catalog(CatalogFile),
    /// All downloads, and which deltas are in it.
    DownloadsTotal,
    /// Downloads that one process counted.
    DownloadsDelta {
        /// The process, or one of its lives as a counter.
        counter: Ulid,
        /// Its deltas are numbered from 1, without gaps.
        number: u64,
    },
    /// What one change was, for those who want to know later.
    Audit(AuditKey),
    /// What one run of the garbage collection found.
    GcPlan(Ulid),
    /// An object of one run of the start-up proof (or of the store contract).
    Probe {
        /// The run.
        run: Ulid,
        /// The object within the run.
        name: ProbeName,
    },
}

/// What a listing covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// `v1/crate/`: all records.
    Crates,
    /// `v1/blob/{canon}/`: all stored files of one crate.
    Blobs(CanonicalName),
    /// `v1/blob/`: all stored files.
    AllBlobs,
    /// `v1/audit/`: all changes.
    Audits,
    /// `v1/gc/plan/`: what the garbage collections before this one found.
    GcPlans,
    /// `v1/`: everything, for whoever looks for what is not ours.
    Everything,
    /// `v1/token/`: all tokens.
    Tokens,
    /// `v1/catalog/`: the catalog files, and `current`.
    Catalogs,
    /// `v1/downloads/delta/`: all deltas.
    DownloadsDeltas,
    /// `v1/probe/{run}/`: the objects of one run of the proof.
    Probe(Ulid),
    /// `v1/probe/`: those of all runs.
    Probes,
}

/// The name of a catalog file. Their order is that of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogFile {
    /// Its number: one more than that of the file that it was to replace.
    pub seq: u64,
    /// The attempt that wrote it: makes the key unique for ever.
    pub attempt: Ulid,
}

/// A crate's canonical name in a key: lower case, `_` for `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonicalName(String);

/// A version in a key: its text with `_` for `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(String);

/// The name of a probe object: `[a-z0-9-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeName(String);

/// The address of an entry of the audit log: the hour of the change, and its identity. Both come from the change itself, so that whoever
/// writes the entry writes the same object. What a garbage collection deletes is no change of a record, and has its plan for an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditKey {
    hour: String,
    op: String,
}

impl AuditKey {
    /// The entry of the change `op` (32 lower-case hexadecimal digits), made at `at`.
    pub fn new(at: jiff::Timestamp, op: &str) -> Result<Self, KeyError> {
        Self::from_parts(at.strftime("%Y/%m/%d/%H").to_string(), op)
    }

    /// The entry of what a garbage collection deletes by this plan, which was made at `at`.
    pub fn of_collection(at: jiff::Timestamp, plan: Ulid) -> Result<Self, KeyError> {
        Self::new(at, &format!("{COLLECTION}{plan}"))
    }

    fn from_parts(hour: String, op: &str) -> Result<Self, KeyError> {
        let form = |text: &str, pattern: &str| {
            text.len() == pattern.len()
                && text.bytes().zip(pattern.bytes()).all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { b == p })
        };
        let is_op = op.len() == 32 && op.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let plan = op.strip_prefix(COLLECTION).map(|plan| Ulid::from_string(plan).map(|ulid| ulid.to_string() == plan));
        if (is_op || plan == Some(Ok(true))) && form(&hour, "0000/00/00/00") {
            Ok(Self { hour, op: op.to_owned() })
        } else {
            Err(KeyError::Audit(format!("{hour}/{op}")))
        }
    }

    /// Whether the hour of the change ended before this moment.
    pub fn is_before(&self, at: jiff::Timestamp) -> bool {
        // The form is such that texts stand in the order of time.
        self.hour < at.strftime("%Y/%m/%d/%H").to_string()
    }

    /// The identity of the change.
    pub fn op(&self) -> &str {
        &self.op
    }

    /// Whether the entry follows from a record, where it is found again if it is lost. That of a garbage collection is the only trace of what is gone.
    pub fn follows_from_a_record(&self) -> bool {
        !self.op.starts_with(COLLECTION)
    }
}

/// Why a text cannot be part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a canonical crate name.
    #[error("`{0}` is not a canonical crate name (1 to {NAME_BYTES_MAX} of a-z, 0-9, `_`, the first a letter)")]
    Name(String),
    /// Too long a version.
    #[error("version `{0}` is longer than {VERSION_BYTES_MAX} characters")]
    Version(String),
    /// Not the hour and identity of a change.
    #[error("`{0}` is not the hour and identity of a change")]
    Audit(String),
    /// Not a probe object's name.
    #[error("`{0}` is not a probe name (1 to {PROBE_BYTES_MAX} of a-z, 0-9, `-`)")]
    Probe(String),
}

impl CanonicalName {
    /// Takes a canonical name: 1 to 64 of `a-z 0-9 _`, the first a letter.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let valid = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid { Ok(Self(text.to_owned())) } else { Err(KeyError::Name(text.to_owned())) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyVersion {
    /// The key form of a version.
    pub fn new(version: &semver::Version) -> Result<Self, KeyError> {
        let text = version.to_string();
        if text.len() > VERSION_BYTES_MAX {
            return Err(KeyError::Version(text));
        }
        Ok(Self(text.replace('+', "_")))
    }

    /// The version itself.
    pub fn version(&self) -> semver::Version {
        self.0.replacen('_', "+", 1).parse().expect("made from a version, and `_` occurs in none")
    }

    fn parse(segment: &str) -> Option<Self> {
        let version: semver::Version = segment.replacen('_', "+", 1).parse().ok()?;
        Self::new(&version).ok()
    }
}

impl ProbeName {
    /// Takes 1 to 64 of `a-z 0-9 -`.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let valid = (1..=PROBE_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(KeyError::Probe(text.to_owned())) }
    }
}

impl Key {
    /// The record of the crate with this canonical name.
    pub fn krate(canonical: &str) -> Result<Self, KeyError> {
        Ok(Self::Crate(CanonicalName::new(canonical)?))
    }

    /// The file of one upload attempt.
    pub fn blob(
        canonical: &str,
        version: &semver::Version,
        sha256: Sha256Digest,
        attempt: Ulid,
    ) -> Result<Self, KeyError> {
        Ok(Self::Blob { krate: CanonicalName::new(canonical)?, version: KeyVersion::new(version)?, sha256, attempt })
    }

    /// A probe object.
    pub fn probe(run: Ulid, name: &str) -> Result<Self, KeyError> {
        Ok(Self::Probe { run, name: ProbeName::new(name)? })
    }

    /// SHA-256 and attempt of a blob's key, if it is of this crate (its canonical name) and version. What [`Key::parse`] finds, for a tenth of
    /// the work: a crate with thousands of versions has as many.
    pub fn parse_blob_of(object_key: &str, krate: &str, version: &semver::Version) -> Option<(Sha256Digest, Ulid)> {
        let rest = object_key.strip_prefix("v1/blob/")?.strip_prefix(krate)?.strip_prefix('/')?;
        let (of, file) = rest.split_once('/')?;
        let mut same = SameVersion(of);
        write!(same, "{version}").ok().filter(|()| same.0.is_empty())?;
        let (sha256, text) = file.split_once('-')?;
        let attempt = Ulid::from_string(text).ok()?;
        (attempt.array_to_str(&mut [0; ulid::ULID_LEN]) == text).then_some((Sha256Digest::from_hex(sha256)?, attempt))
    }

    /// Reads an object key (without the configured prefix) back. `None`: not one of ours, or not spelled as we spell it.
    pub fn parse(object_key: &str) -> Option<Self> {
        let segments: Vec<&str> = object_key.split('/').collect();
        let key = match segments.as_slice() {
            ["v1", "meta", "format"] => Self::Format,
            ["v1", "head"] => Self::Head,
            ["v1", "crate", _, name] => Self::krate(name).ok()?,
            ["v1", "blob", name, version, file] => {
                let (sha256, attempt) = file.split_once('-')?;
                Self::Blob {
                    krate: CanonicalName::new(name).ok()?,
                    version: KeyVersion::parse(version)?,
                    sha256: Sha256Digest::from_hex(sha256)?,
                    attempt: Ulid::from_string(attempt).ok()?,
                }
            }
            ["v1", "catalog", "current"] => Self::CatalogCurrent,
            ["v1", "catalog", file] => {
                let (seq, attempt) = file.split_once('-')?;
                Self::Catalog(CatalogFile { seq: seq.parse().ok()?, attempt: Ulid::from_string(attempt).ok()? })
            }
            ["v1", "downloads", "total"] => Self::DownloadsTotal,
            ["v1", "downloads", "delta", counter, number] => {
                Self::DownloadsDelta { counter: Ulid::from_string(counter).ok()?, number: number.parse().ok()? }
            }
            ["v1", "token", _, sha256] => Self::Token(Sha256Digest::from_hex(sha256)?),
            ["v1", "audit", year, month, day, hour, op] => {
                Self::Audit(AuditKey::from_parts([*year, month, day, hour].join("/"), op).ok()?)
            }
            ["v1", "gc", "plan", run] => Self::GcPlan(Ulid::from_string(run).ok()?),
            ["v1", "probe", run, name] => Self::probe(Ulid::from_string(run).ok()?, name).ok()?,
            _ => return None,
        };
        // One object, one spelling: a wrong shard or a lower-case ULID is not ours.
        (key.to_string() == object_key).then_some(key)
    }
}

/// What is left of a version in a key, while the text of a version is compared with it piece by piece.
struct SameVersion<'a>(&'a str);

impl fmt::Write for SameVersion<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let (begins, rest) = self.0.split_at_checked(piece.len()).ok_or(fmt::Error)?;
        let same = begins.bytes().eq(piece.bytes().map(|byte| if byte == b'+' { b'_' } else { byte }));
        self.0 = rest;
        if same { Ok(()) } else { Err(fmt::Error) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("v1/meta/format"),
            Self::Head => f.write_str("v1/head"),
            Self::Crate(name) => {
                let digest = Sha256Digest::of(name.0.as_bytes()).to_string();
                write!(f, "v1/crate/{}/{}", &digest[..2], name.0)
            }
            Self::Blob { krate, version, sha256, attempt } => {
                write!(f, "v1/blob/{}/{}/{sha256}-{attempt}", krate.0, version.0)
            }
            Self::Token(sha256) => write!(f, "v1/token/{}/{sha256}", &sha256.to_string()[..2]),
            Self::CatalogCurrent => f.write_str("v1/catalog/current"),
            Self::Catalog(CatalogFile { seq, attempt }) => write!(f, "v1/catalog/{seq:020}-{attempt}"),
            Self::DownloadsTotal => f.write_str("v1/downloads/total"),
            Self::DownloadsDelta { counter, number } => write!(f, "v1/downloads/delta/{counter}/{number:020}"),
            Self::Audit(AuditKey { hour, op }) => write!(f, "v1/audit/{hour}/{op}"),
            Self::GcPlan(run) => write!(f, "v1/gc/plan/{run}"),
            Self::Probe { run, name } => write!(f, "v1/probe/{run}/{}", name.0),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crates => f.write_str("v1/crate/"),
            Self::Blobs(name) => write!(f, "v1/blob/{}/", name.0),
            Self::AllBlobs => f.write_str("v1/blob/"),
            Self::Audits => f.write_str("v1/audit/"),
            Self::GcPlans => f.write_str("v1/gc/plan/"),
            Self::Everything => f.write_str("v1/"),
            Self::Tokens => f.write_str("v1/token/"),
            Self::Catalogs => f.write_str("v1/catalog/"),
            Self::DownloadsDeltas => f.write_str("v1/downloads/delta/"),
            Self::Probe(run) => write!(f, "v1/probe/{run}/"),
            Self::Probes => f.write_str("v1/probe/"),
        }
    }
}

#[cfg(test)]
mod tests;
