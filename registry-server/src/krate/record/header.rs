//! The first member of a record: one line of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{OPS_MAX, Op, OpId, RecordError, VersionRecord};
use crate::krate::release::About;
use crate::krate::{CrateName, IndexFile, Owner, Version};

/// A crate that an administrator took away. It reads as missing; everything that it was stays in the record, so that it can come back
/// as it was, and nobody else can publish other bytes as one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Who asked for it.
    pub by: Owner,
    /// When.
    pub at: Timestamp,
}

/// The header. The order of the fields is the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) op: OpId,
    pub(super) rev: u64,
    pub(super) name: CrateName,
    pub(super) owners: BTreeSet<Owner>,
    pub(super) index_etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<OpId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<Deletion>,
    /// When it last went on from an earlier state. It stays here when the change itself is no longer among the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recovered_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) about: About,
    pub(super) ops: Vec<Op>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

/// How a header begins.
const FIRST_FIELD: &[u8] = b"{\"op\":\"";

impl Header {
    /// Before the first change; its `op` is nobody's, and it is never written.
    pub(super) fn new(name: CrateName, owners: BTreeSet<Owner>, index_etag: String) -> Self {
        Self {
            op: "0".repeat(32).parse().expect("32 digits"),
            rev: 0,
            name,
            owners,
            index_etag,
            mark: None,
            max_version: None,
            deleted: None,
            recovered_at: None,
            about: About::default(),
            ops: Vec::new(),
            extra: Map::new(),
        }
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let Some((b'\n', json)) = line.split_last() else {
            return Err(RecordError::Header("it has no newline at its end".to_owned()));
        };
        if json.contains(&b'\n') {
            return Err(RecordError::Header("it has more than one line".to_owned()));
        }
        let header: Self = serde_json::from_slice(json).map_err(|error| RecordError::Header(error.to_string()))?;
        if !json.starts_with(FIRST_FIELD) {
            return Err(RecordError::Header("its first field is not `op`".to_owned()));
        }
        header.check()?;
        Ok(header)
    }

    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a header has string keys only");
        assert!(line.starts_with(FIRST_FIELD), "`op` comes first");
        line.push(b'\n');
        line
    }

    /// What holds for the header by itself.
    fn check(&self) -> Result<(), RecordError> {
        let rule = |broken: bool, text: &dyn Fn() -> String| {
            if broken { Err(RecordError::Rule(text())) } else { Ok(()) }
        };
        rule(self.owners.is_empty(), &|| "it has no owners".to_owned())?;
        rule(self.rev == 0 && self.mark.is_none(), &|| "its `rev` is 0".to_owned())?;
        rule(self.ops.len() > OPS_MAX, &|| format!("it has {} changes in `ops`", self.ops.len()))?;
        let mut rev = 0;
        for op in &self.ops {
            rule(op.rev <= rev || op.rev > self.rev, &|| format!("`ops` has the `rev` {} after {rev}", op.rev))?;
            rev = op.rev;
        }
        Ok(())
    }

    /// What holds for all members together.
    pub(super) fn check_index(
        &self,
        versions: &BTreeMap<Version, Arc<VersionRecord>>,
        file: &IndexFile,
    ) -> Result<(), RecordError> {
        let broken = |text: String| Err(RecordError::Rule(text));
        let etag = file.etag();
        if etag != self.index_etag {
            return broken(format!("its index has the ETag {etag}, its header says {}", self.index_etag));
        }
        if file.lines().len() != versions.len() {
            let (lines, versions) = (file.lines().len(), versions.len());
            return broken(format!("its index has {lines} lines, its list has {versions} versions"));
        }
        if let Some(name) = file.name().filter(|name| **name != self.name) {
            return broken(format!("its index is of the crate `{name}`, its header of `{}`", self.name));
        }
        for line in file.lines() {
            if !versions.contains_key(&line.vers) {
                return broken(format!("its index has the version {}, its list has not", line.vers));
            }
        }
        Ok(())
    }
}
