//! The audit log: one object per change, `v1/audit/{yyyy}/{mm}/{dd}/{hh}/{op}`, one line of JSON that says who did what, and when.
//!
//! A transactional outbox: the change itself is in the record (`ops`), and the entry follows from the record alone, its key too. So it is
//! written after the answer, by whoever comes first, and written again it is the same object. A process that dies before that leaves the
//! entry to `fsck --repair`; a failure is logged and counted, and is nobody's failed command.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Registry, administrator, pause};
use crate::access::TokenRecord;
use crate::access::record::{TokenOp, TokenOpKind};
use crate::ambient::Entropy;
use crate::krate::record::{Op, OpId, OpKind};
use crate::krate::{CrateName, Owner, Record, Version};
use crate::metrics;
use crate::store::{AuditKey, Body, Cond, Etag, Get, Key, Put, Refused, Store, StoreError, StoreErrorKind};

/// How often an entry is sent.
const PUTS_MAX: u32 = 5;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) bytes: Bytes,
}

/// What an entry says of a change of a crate. Fields are added, never changed.
#[derive(Debug, Serialize)]
struct OfCrate<'a> {
    op: &'a OpId,
    kind: &'a OpKind,
    at: jiff::Timestamp,
    actor: &'a Owner,
    #[serde(rename = "crate")]
    krate: &'a CrateName,
    rev: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a Version>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    owners: &'a [Owner],
}

/// An entry is not read beyond this, in bytes: one of a change has less than a tenth of it.
pub(crate) const ENTRY_BYTES_MAX: u64 = 1 << 20;

/// A change of a crate, as an entry tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Told {
    kind: OpKind,
    at: jiff::Timestamp,
    actor: String,
    #[serde(rename = "crate")]
    pub(crate) krate: CrateName,
    pub(crate) rev: u64,
    version: Option<String>,
    #[serde(default)]
    owners: Vec<String>,
}

impl Told {
    /// Reads an entry. `None`: it tells of something that is no crate.
    ///
    /// # Errors
    /// It is not in the form of an entry.
    pub(crate) fn parse(entry: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Subject {
            #[serde(rename = "crate")]
            krate: Option<serde::de::IgnoredAny>,
        }
        let subject: Subject = serde_json::from_slice(entry)?;
        subject.krate.map(|_| serde_json::from_slice(entry)).transpose()
    }

    /// The version that it published, if it did.
    pub(crate) fn published(&self) -> Option<&str> {
        self.version.as_deref().filter(|_| self.kind == OpKind::Publish)
    }

    /// Whether somebody asked for it, and might want to ask for it again.
    pub(crate) fn is_of_a_user(&self) -> bool {
        self.kind != OpKind::Recover
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, at, actor, krate: _, rev, version, owners } = self;
        // The kind as the log has it.
        let kind = serde_json::to_value(kind).unwrap_or_default();
        f.write_str(kind.as_str().unwrap_or("a change"))?;
        for part in version.iter().chain(owners) {
            write!(f, " {part}")?;
        }
        write!(f, " by {actor} at {at:.0} (rev {rev})")
    }
}

/// The same of a token, which is named by its hash.
#[derive(Debug, Serialize)]
struct OfToken<'a> {
    op: &'a OpId,
    kind: &'a TokenOpKind,
    at: jiff::Timestamp,
    actor: Owner,
    token: String,
    user: &'a Owner,
    rev: u64,
}

/// The entry of one of a crate's last changes. `None`: its time is no time that a key can have.
pub(crate) fn of_crate(record: &Record, done: &Op) -> Option<Entry> {
    let Op { op, kind, actor, at, rev, vers, owners, .. } = done;
    let (krate, version) = (record.name(), vers.as_ref());
    entry(op, *at, &OfCrate { op, kind, at: *at, actor, krate, rev: *rev, version, owners })
}

/// The entry of one of a token's last changes.
pub(crate) fn of_token(key: &Key, record: &TokenRecord, done: &TokenOp) -> Option<Entry> {
    let Key::Token(token) = key else { return None };
    let TokenOp { op, kind, at, rev } = done;
    let (actor, token, user) = (administrator(), token.to_string(), &record.user);
    entry(op, *at, &OfToken { op, kind, at: *at, actor, token, user, rev: *rev })
}

fn entry(op: &OpId, at: jiff::Timestamp, content: &impl Serialize) -> Option<Entry> {
    let key = Key::Audit(AuditKey::new(at, op.as_str()).ok()?);
    let mut bytes = serde_json::to_vec(content).expect("texts and numbers always serialize");
    bytes.push(b'\n');
    Some(Entry { key, bytes: bytes.into() })
}

/// Writes the entry, unless it is there.
pub(crate) async fn write(store: &dyn Store, entropy: &Entropy, entry: &Entry) -> Result<(), StoreError> {
    let (mut last, mut replaces) = (None, Cond::Absent);
    for attempt in 1..=PUTS_MAX {
        match store.put(&entry.key, Body::Bytes(entry.bytes.clone()), replaces.clone()).await {
            Put::Stored(_) => return Ok(()),
            Put::Refused(Refused::Precondition) => match torn(store, &entry.key).await? {
                None => return Ok(()),
                Some(etag) => replaces = Cond::Matches(etag),
            },
            Put::NotSent(error) if !error.kind().is_transient() => return Err(error),
            // Sent again it is the same object.
            Put::NotSent(error) | Put::Unknown(error) => last = Some(error),
            Put::Refused(Refused::Conflict | Refused::Missing) => {}
        }
        pause(entropy, attempt).await;
    }
    let busy = || StoreError::new(StoreErrorKind::Throttled, format!("{} could not be created", entry.key));
    Err(last.unwrap_or_else(busy))
}

/// What stands in place of an entry when the power failed before a directory's file system had written it: a file without bytes.
async fn torn(store: &dyn Store, key: &Key) -> Result<Option<Etag>, StoreError> {
    match store.get(key, None).await? {
        Get::Found(object) if object.len == 0 => Ok(Some(object.etag)),
        _ => Ok(None),
    }
}

impl Registry {
    /// Writes the entry in the background; [`Registry::finish_writes`] waits for it.
    pub(super) fn export(&self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        let (store, entropy) = (Arc::clone(&self.store), self.entropy.clone());
        self.writes.spawn(tracing::Instrument::in_current_span(async move {
            let written = write(&*store, &entropy, &entry).await;
            metrics::audited(if written.is_ok() { "written" } else { "failed" });
            if let Err(error) = written {
                tracing::warn!(key = %entry.key, %error, "an entry of the audit log is missing until `fsck --repair`");
            }
        }));
    }
}
