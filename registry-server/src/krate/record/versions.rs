//! The second member of a record: what it keeps of each version beside its index line, as lines of JSON in the order of publishing.
//!
//! Lines and not a part of the header, because the header is written anew with every change, and a crate may have thousands of versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{RecordError, gzip};
use crate::krate::{Owner, Version};

/// Versions are appended one by one; every so many, all are compressed at once, which takes less room.
const AT_ONCE_EVERY: usize = 64;

/// What the record keeps of a version beside its index line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    vers: Version,
    /// The object key of the `.crate` bytes, without the store's prefix.
    pub blob: String,
    /// Their length, in bytes.
    pub size: u64,
    /// Who published it.
    pub publisher: Owner,
    /// When.
    pub at: Timestamp,
    /// Fields of a later version of this program.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl VersionRecord {
    pub(super) fn new(vers: Version, blob: String, size: u64, publisher: Owner, at: Timestamp) -> Self {
        Self { vers, blob, size, publisher, at, extra: Map::new() }
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    /// As stored.
    gzip: Bytes,
    /// The same, inflated.
    lines: Bytes,
    /// Shared by the states of a record that have the same.
    by_version: Arc<BTreeMap<Version, Arc<VersionRecord>>>,
}

impl Versions {
    pub(super) fn none() -> Self {
        Self { gzip: gzip::deflate(b""), lines: Bytes::new(), by_version: Arc::default() }
    }

    /// Reads the member that stands first in `object`. Where what follows it begins, too.
    pub(super) fn parse_first(object: &Bytes, bytes_max: usize) -> Result<(Self, usize), RecordError> {
        let (lines, end) = gzip::inflate_first(object, bytes_max)
            .map_err(|why| RecordError::Gzip { member: "list of versions", why })?;
        let mut by_version = BTreeMap::new();
        for (number, line) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let wrong = |why: String| RecordError::Versions { line: number + 1, why };
            let Some(json) = line.strip_suffix(b"\n") else { return Err(wrong("it has no newline at its end".into())) };
            let kept: VersionRecord = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
            let version = kept.vers.clone();
            if by_version.insert(version.clone(), Arc::new(kept)).is_some() {
                return Err(wrong(format!("the version {version} is there already")));
            }
        }
        let mut keys = by_version.keys();
        if let Some((next, this)) = keys.clone().skip(1).zip(keys.by_ref()).find(|(next, this)| next.is_twin_of(this)) {
            return Err(RecordError::Rule(format!("it has a version twice: {this} and {next}")));
        }
        Ok((Self { gzip: object.slice(..end), lines: lines.into(), by_version: Arc::new(by_version) }, end))
    }

    /// Adds one that is not there.
    pub(super) fn push(&mut self, kept: VersionRecord) {
        let before = self.add(kept);
        self.gzip = grown(&self.gzip, &before, &self.lines, self.by_version.len());
    }

    /// Adds several that are not there.
    #[cfg(feature = "test-support")]
    pub(super) fn push_all(&mut self, kept: Vec<VersionRecord>) {
        for kept in kept {
            self.add(kept);
        }
        self.gzip = gzip::deflate(&self.lines);
    }

    /// Adds one, but to the member. The lines before.
    fn add(&mut self, kept: VersionRecord) -> Bytes {
        let mut line = serde_json::to_vec(&kept).expect("a line has string keys only");
        line.push(b'\n');
        let lines = [&self.lines[..], &line].concat().into();
        let twin = Arc::make_mut(&mut self.by_version).insert(kept.vers.clone(), Arc::new(kept));
        assert_eq!(twin, None, "a version is there once");
        std::mem::replace(&mut self.lines, lines)
    }

    pub(super) fn by_version(&self) -> &BTreeMap<Version, Arc<VersionRecord>> {
        &self.by_version
    }

    /// The member, as stored.
    pub(super) fn gzip(&self) -> &Bytes {
        &self.gzip
    }

    /// What the member inflates to, in bytes.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }
}

/// The member of `lines`, from the one of `before`, of which they are the continuation by the line of the `count`-th version.
pub(super) fn grown(member: &[u8], before: &[u8], lines: &[u8], count: usize) -> Bytes {
    let appended =
        if count.is_multiple_of(AT_ONCE_EVERY) { None } else { gzip::append(member, before, &lines[before.len()..]) };
    appended.unwrap_or_else(|| gzip::deflate(lines))
}
