//! Brings the table up to date: reads the records that were announced, or that differ from a listing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;

use super::super::documents::Purpose;
use super::super::{Registry, RegistryError};
use crate::catalog::follow::{Due, Reading};
use crate::catalog::{Base, Row};
use crate::krate::{Canonical, Record};
use crate::store::{Entry, Etag, Key, Prefix, StoreErrorKind, list_all};

/// How many records are read at once.
const READS_AT_ONCE: usize = 16;

/// What a record was read as.
enum Found {
    Row(Row, Reading),
    /// Readers see no crate there.
    Hidden(Option<Etag>, Reading),
    Damaged,
}

impl Registry {
    /// One refresh. `for_search`: somebody waits for it, so the head is asked for if it may be out of date.
    pub(super) async fn refresh(self: &Arc<Self>, for_search: bool) -> Result<(), RegistryError> {
        if !self.search.state().loaded {
            self.load().await?;
        } else if for_search && !self.replica.is_current() {
            self.ask_for_head().await?;
        }
        if !self.replica.is_alone() {
            let head = self.replica.newest();
            let followed = self.search.state().follow.observe(head.as_ref().map(|seen| &seen.head));
            if followed.is_err() {
                tracing::info!("changes were missed; the catalog is compared with a listing");
                self.compare().await?;
            }
        }
        self.read_due(for_search).await?;
        self.tell_catalog_size();
        self.rebase_if_wanted();
        Ok(())
    }

    /// Makes sure that the newest head is known. Where index files may be a little old while the store cannot be reached, what search knows
    /// may be so too; then not every search waits to find that out.
    async fn ask_for_head(&self) -> Result<(), RegistryError> {
        let tolerated = || self.replica.may_serve_unproven();
        if self.replica.is_cut_off() && tolerated() {
            return Ok(());
        }
        match self.replica.prove().await {
            Err(error) if error.kind().is_transient() && tolerated() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Compares the table with a listing, and reads what differs. What was read stays, also if the rest cannot be read now.
    pub(super) async fn compare(self: &Arc<Self>) -> Result<(), RegistryError> {
        if !self.replica.is_alone() {
            // The listing has to be newer than the head from which on changes are followed.
            self.replica.prove().await?;
            let head = self.replica.newest();
            self.search.state().follow.restart(head.as_ref().map(|seen| &seen.head));
        }
        let result = self.compare_with_listing().await;
        if result.is_err() {
            self.search.state().loaded = false;
        }
        result
    }

    async fn compare_with_listing(&self) -> Result<(), RegistryError> {
        let mut listed: BTreeMap<Canonical, Etag> =
            list_all(&*self.store, &Prefix::Crates).await?.into_iter().filter_map(canonical_of).collect();
        let snapshot = self.search.read().snapshot();
        for row in snapshot.rows() {
            let name = row.canonical();
            match listed.get(&name) {
                Some(etag) if *etag == row.etag => drop(listed.remove(&name)),
                Some(_) => {}
                None => self.take_out(&name, None),
            }
        }
        {
            let mut state = self.search.state();
            state.hidden.retain(|name, etag| match listed.get(name) {
                Some(listed_etag) if listed_etag == etag => {
                    listed.remove(name);
                    true
                }
                _ => false,
            });
        }
        let reads = listed.into_keys().map(|name| async move { (self.read_row(&name, false).await, name) });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some((found, name)) = reads.next().await {
            let now = self.replica.time().now();
            let (reading, rev) = match &found {
                Ok(Found::Row(row, reading)) => (*reading, row.rev + 1),
                Ok(Found::Hidden(_, reading)) => (*reading, 1),
                Ok(Found::Damaged) => (Reading::Damaged, 0),
                Err(_) => (Reading::Unknown, 0),
            };
            self.apply(&name, found?);
            if !matches!(reading, Reading::State { marked: false, .. }) {
                self.search.state().follow.note(name, rev, reading, now);
            }
        }
        Ok(())
    }

    /// Reads the records that may have changed.
    async fn read_due(&self, for_search: bool) -> Result<(), RegistryError> {
        let due = self.search.state().follow.due(self.replica.time().now(), for_search);
        let reads = due.into_iter().map(|due| async move { (self.read_due_row(&due).await, due) });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        let mut failed = None;
        while let Some((found, due)) = reads.next().await {
            let reading = match found {
                Ok(found) => {
                    let reading = match &found {
                        Found::Row(_, reading) | Found::Hidden(_, reading) => *reading,
                        Found::Damaged => Reading::Damaged,
                    };
                    self.apply(&due.name, found);
                    reading
                }
                Err(error) => {
                    failed = failed.or(due.own.then_some(error));
                    Reading::Unknown
                }
            };
            let now = self.replica.time().now();
            self.search.state().follow.read(&due, reading, now);
        }
        // Changes of others may come later; what was acknowledged here has to be seen.
        failed.map_or(Ok(()), Err)
    }

    /// From memory if it is there; a state that is not yet the announced one, or none at all, is looked at in the store: for its mark.
    async fn read_due_row(&self, due: &Due) -> Result<Found, RegistryError> {
        let found = self.read_row(&due.name, true).await?;
        match found {
            Found::Hidden(..) if due.rev > 0 => self.read_row(&due.name, false).await,
            found => Ok(found),
        }
    }

    async fn read_row(&self, name: &Canonical, from_memory: bool) -> Result<Found, RegistryError> {
        let key = Key::krate(name.as_str()).expect("a canonical name is a key segment");
        let read = if from_memory {
            self.documents.read::<Record>(&key, Purpose::Other).await
        } else {
            self.documents.fetch::<Record>(&key).await
        };
        let reason = match read {
            Ok(Some(state)) => {
                let record = &*state.document;
                let reading = Reading::State { rev: record.rev(), marked: record.mark().is_some() };
                return Ok(match Row::of(record, &state.etag) {
                    Some(row) => Found::Row(row, reading),
                    None => Found::Hidden(Some(state.etag.clone()), reading),
                });
            }
            Ok(None) => return Ok(Found::Hidden(None, Reading::State { rev: 0, marked: false })),
            Err(RegistryError::Broken { reason, .. }) => reason,
            Err(RegistryError::Store(error)) => match error.kind() {
                StoreErrorKind::Corrupt
                | StoreErrorKind::TooLarge
                | StoreErrorKind::Denied
                | StoreErrorKind::Rejected => error.to_string(),
                // About the whole store.
                StoreErrorKind::Unavailable | StoreErrorKind::Throttled | StoreErrorKind::NoBucket => {
                    return Err(error.into());
                }
            },
            Err(error) => return Err(error),
        };
        tracing::error!(%key, reason, "a crate record cannot be read; search leaves it out");
        Ok(Found::Damaged)
    }

    fn apply(&self, name: &Canonical, found: Found) {
        match found {
            Found::Row(row, _) => {
                self.search.write().put(row);
                let mut state = self.search.state();
                state.hidden.remove(name);
                state.count_change(self.replica.time().now());
            }
            Found::Hidden(etag, _) => self.take_out(name, etag),
            Found::Damaged => self.take_out(name, None),
        }
    }

    fn take_out(&self, name: &Canonical, etag: Option<Etag>) {
        self.search.write().remove(name);
        let mut state = self.search.state();
        match etag {
            Some(etag) => _ = state.hidden.insert(name.clone(), etag),
            None => _ = state.hidden.remove(name),
        }
        state.count_change(self.replica.time().now());
    }

    /// Builds a new base when enough has changed. Searches go on meanwhile.
    fn rebase_if_wanted(self: &Arc<Self>) {
        if !self.search.read().wants_base() || std::mem::replace(&mut self.search.state().rebasing, true) {
            return;
        }
        let registry = self.clone();
        let begun = tokio::task::spawn_blocking(move || {
            let snapshot = registry.search.read().snapshot();
            let base = Base::build(snapshot.rows());
            registry.search.write().rebase(base, &snapshot);
            registry.search.state().rebasing = false;
        });
        drop(begun);
    }
}

impl super::State {
    fn count_change(&mut self, now: std::time::Duration) {
        self.changes += 1;
        self.changed_at.get_or_insert(now);
    }
}

fn canonical_of(entry: Entry) -> Option<(Canonical, Etag)> {
    match entry.key {
        Key::Crate(name) => Some((Canonical::parse(name.as_str())?, entry.etag)),
        _ => None,
    }
}
