//! What one run leaves for a later one: `v1/gc/plan/{ulid}`, one JSON document.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Deleted;
use crate::registry::audit::{self, Entry as AuditEntry};
use crate::registry::{Registry, RegistryError};
use crate::store::{AuditKey, Body, Cond, Entry, Key, Store, StoreError, Ulid};

/// Most candidates of one plan: it is read whole.
const CANDIDATES_MAX: usize = 10_000;
/// A plan is not read beyond this, in bytes.
const PLAN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The content of a plan.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) candidates: Vec<Candidate>,
}

/// An object that may go, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candidate {
    key: String,
    etag: String,
    modified: Timestamp,
    bytes: u64,
    /// Since when its crate is known to have no record, if it has none. Handed on from plan to plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_record_since: Option<Timestamp>,
}

impl Candidate {
    pub(super) fn of(entry: &Entry) -> Self {
        let Entry { key, etag, len, modified } = entry;
        let (key, etag) = (key.to_string(), etag.to_string());
        Self { key, etag, modified: *modified, bytes: *len, no_record_since: None }
    }

    /// The same, of a crate that has had no record since then, as far as anybody knows.
    pub(super) fn without_record(self, since: Timestamp) -> Self {
        Self { no_record_since: Some(since), ..self }
    }

    pub(super) fn no_record_since(&self) -> Option<Timestamp> {
        self.no_record_since
    }

    /// Whether this is the object that was listed.
    pub(super) fn is(&self, entry: &Entry) -> bool {
        Self { no_record_since: None, ..self.clone() } == Self::of(entry)
    }

    pub(super) fn key(&self) -> Result<Key, RegistryError> {
        Key::parse(&self.key).ok_or_else(|| RegistryError::Broken {
            what: "a plan of the garbage collection".into(),
            reason: format!("`{}` is not a key", self.key),
        })
    }

    pub(super) fn shown(&self) -> Deleted {
        Deleted { key: self.key.clone(), bytes: self.bytes, modified: self.modified }
    }
}

impl Plan {
    /// Stores the candidates, in as many plans as that needs.
    pub(super) async fn store(&self, store: &dyn Store, mut id: impl FnMut() -> Ulid) -> Result<(), StoreError> {
        for candidates in self.candidates.chunks(CANDIDATES_MAX) {
            let plan = Self { candidates: candidates.to_vec() };
            let bytes: Bytes = serde_json::to_vec(&plan).expect("texts and numbers always serialize").into();
            let key = Key::GcPlan(id());
            store.put(&key, Body::Bytes(bytes), Cond::Any).await.unconditional(&key)?;
        }
        Ok(())
    }

    /// `None`: there is none, or none that this version understands.
    pub(super) async fn read(store: &dyn Store, id: Ulid) -> Result<Option<Self>, StoreError> {
        use crate::maintenance::survey::{Reading, read};
        Ok(match read(store, &Key::GcPlan(id), PLAN_BYTES_MAX).await? {
            Reading::Sound(stored) => serde_json::from_slice(&stored.bytes).ok(),
            Reading::Missing | Reading::Broken { .. } => None,
        })
    }
}

/// Writes into the audit log what is about to be deleted, once per plan. Durable when this returns: no record knows of it.
pub(super) async fn record_deletions(
    registry: &Registry,
    plan: Ulid,
    deleted: &[Candidate],
) -> Result<(), RegistryError> {
    if deleted.is_empty() {
        return Ok(());
    }
    let at = i64::try_from(plan.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
    let key = AuditKey::of_collection(at, plan).map_err(|error| RegistryError::Invalid(error.to_string()))?;
    let value = serde_json::json!({
        "op": key.op(), "kind": "gc", "at": at, "actor": "gc", "plan": plan.to_string(), "deleted": deleted
    });
    let key = Key::Audit(key);
    let entry = AuditEntry { key, bytes: format!("{value}\n").into() };
    audit::write(&**registry.store(), registry.entropy(), &entry).await?;
    Ok(())
}
