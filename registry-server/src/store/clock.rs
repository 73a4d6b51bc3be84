//! What time it is for a store: ages of objects are judged by the clock that dated them, never by that of the machine that asks.

use jiff::Timestamp;

use super::{Body, Cond, Key, Prefix, Store, StoreError, StoreErrorKind, Ulid, list_all};

/// The time by the store's own clock: that of an object which this call creates below `v1/probe/{run}/`, and deletes.
///
/// # Errors
/// The store fails.
pub async fn now(store: &dyn Store, run: Ulid) -> Result<Timestamp, StoreError> {
    let key = Key::probe(run, "clock").expect("a probe's name");
    store.put(&key, Body::Bytes(run.to_string().into()), Cond::Any).await.unconditional(&key)?;
    let listed = list_all(store, &Prefix::Probe(run)).await;
    // What stays is swept as every old probe is.
    drop(store.delete(&key).await);
    let found = listed?.into_iter().find(|entry| entry.key == key);
    let missing = || StoreError::new(StoreErrorKind::Rejected, format!("{key} was stored, and is not listed"));
    Ok(found.ok_or_else(missing)?.modified)
}
