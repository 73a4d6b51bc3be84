//! Search: a listing of all records, of which only those that changed since the last look are read.
//!
//! One LIST request per thousand crates and search; the results of what a listing shows are as fresh as the listing. Searches that come
//! while one is listing share the next listing. It goes on when its client goes away, and keeps every record that it has read: the
//! first search of a replica may take longer than a client waits.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::StreamExt;
use tokio::time::Instant;

use super::documents::Purpose;
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::{Canonical, CrateName, Owner, Record};
use crate::store::{Entry, Etag, Key, Prefix, StoreErrorKind, list_all};

/// How many changed records are read at once.
const READS_AT_ONCE: usize = 16;

/// What a search answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The best hits.
    pub hits: Vec<SearchHit>,
    /// How many crates fit, of those that the caller may read.
    pub total: usize,
}

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// As its author spells it.
    pub name: String,
    /// The version to show.
    pub max_version: String,
    /// Its description, if it has one.
    pub description: Option<String>,
}

/// What is known of all crates; refreshed by each search.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Held while a refresh runs: there is one at a time.
    last: Arc<tokio::sync::Mutex<Option<Refresh>>>,
    rows: RwLock<Rows>,
}

type Rows = BTreeMap<Canonical, Row>;

/// A refresh that has ended.
#[derive(Debug)]
struct Refresh {
    /// It holds for all searches that arrived before it began.
    begun: Instant,
    result: Result<(), RegistryError>,
}

#[derive(Debug)]
struct Row {
    /// What was read; `None` if it has to be read again even if it stays the same.
    etag: Option<Etag>,
    /// `None` for a record that cannot be read or that is not visible: it harms nobody else.
    shown: Option<Shown>,
}

#[derive(Debug, Clone)]
struct Shown {
    name: CrateName,
    owners: std::collections::BTreeSet<Owner>,
    hit: SearchHit,
    /// Lower case: name, keywords, description.
    text: String,
    keywords: Vec<String>,
}

impl Registry {
    /// The crates that fit all words of `query` and that the caller may read, the best first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn search(
        self: &Arc<Self>,
        principal: &Principal,
        query: &str,
        limit: usize,
    ) -> Result<Found, RegistryError> {
        self.check_ready()?;
        self.refresh_since(Instant::now()).await?;
        let words: Vec<String> = query.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let readable =
            |shown: &&Shown| self.authorise(principal, Action::Read, &shown.name, Some(&shown.owners)).is_ok();
        let rows = self.search.read();
        let mut fitting: Vec<_> = rows
            .values()
            .filter_map(|row| row.shown.as_ref())
            .filter_map(|shown| Some((rank(shown, &words)?, shown)))
            .filter(|(_, shown)| readable(shown))
            .collect();
        fitting.sort_by_key(|(rank, shown)| (Reverse(*rank), shown.name.as_str()));
        let hits = fitting.iter().take(limit).map(|(_, shown)| shown.hit.clone()).collect();
        Ok(Found { hits, total: fitting.len() })
    }

    /// Makes sure that a refresh has begun after `arrived`, and ended well.
    async fn refresh_since(self: &Arc<Self>, arrived: Instant) -> Result<(), RegistryError> {
        // In turn: whoever waits here while a refresh runs begins the next, and those behind find that it began after them.
        let mut last = self.search.last.clone().lock_owned().await;
        if last.as_ref().is_none_or(|last| last.begun <= arrived) {
            let registry = self.clone();
            let refresh = async move {
                let begun = Instant::now();
                let result = registry.refresh().await;
                *last = Some(Refresh { begun, result });
                last
            };
            // The lock goes along: this request may be given up, the refresh is not.
            last = tokio::spawn(tracing::Instrument::in_current_span(refresh)).await.map_err(|error| {
                RegistryError::Internal { text: "the search was stopped", reason: error.to_string() }
            })?;
        }
        last.as_ref().map_or(Ok(()), |last| last.result.clone())
    }

    async fn refresh(&self) -> Result<(), RegistryError> {
        let listed: BTreeMap<Canonical, Etag> =
            list_all(&*self.store, &Prefix::Crates).await?.into_iter().filter_map(canonical_of).collect();
        let changed: Vec<_> = {
            let mut rows = self.search.write();
            rows.retain(|name, _| listed.contains_key(name));
            let is_known =
                |name: &Canonical, etag: &Etag| rows.get(name).is_some_and(|row| row.etag.as_ref() == Some(etag));
            listed.into_iter().filter(|(name, etag)| !is_known(name, etag)).collect()
        };
        let reads = changed.into_iter().map(|(name, etag)| async move { (self.row(&name, etag).await, name) });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some((row, name)) = reads.next().await {
            // Each is kept at once: if the next cannot be read, the search after this one has less to do.
            self.search.write().insert(name, row?);
        }
        Ok(())
    }

    async fn row(&self, name: &Canonical, listed: Etag) -> Result<Row, RegistryError> {
        let key = Key::krate(name.as_str()).expect("a canonical name is a key segment");
        let (reason, etag) = match self.documents.read::<Record>(&key, Purpose::Other).await {
            Ok(Some(state)) => return Ok(Row { etag: Some(state.etag.clone()), shown: show(&state.document) }),
            Ok(None) => return Ok(Row { etag: Some(listed), shown: None }),
            Err(RegistryError::Broken { reason, .. }) => (reason, Some(listed)),
            Err(RegistryError::Store(error)) => match error.kind() {
                StoreErrorKind::Corrupt | StoreErrorKind::TooLarge => (error.to_string(), Some(listed)),
                // May be about this object alone, and be mended without a change of it.
                StoreErrorKind::Denied | StoreErrorKind::Rejected => (error.to_string(), None),
                // About the whole store.
                StoreErrorKind::Unavailable | StoreErrorKind::Throttled | StoreErrorKind::NoBucket => {
                    return Err(error.into());
                }
            },
            Err(error) => return Err(error),
        };
        tracing::error!(%key, reason, "a crate record cannot be read; search leaves it out");
        Ok(Row { etag, shown: None })
    }
}

impl Catalog {
    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical_of(entry: Entry) -> Option<(Canonical, Etag)> {
    match entry.key {
        Key::Crate(name) => Some((Canonical::parse(name.as_str())?, entry.etag)),
        _ => None,
    }
}

fn show(record: &Record) -> Option<Shown> {
    if !record.is_visible() {
        return None;
    }
    let about = record.about();
    let hit = SearchHit {
        name: record.name().to_string(),
        max_version: record.max_version()?.to_string(),
        description: about.description.clone(),
    };
    let keywords: Vec<_> = about.keywords.iter().map(|keyword| keyword.to_lowercase()).collect();
    let text = format!(
        "{} {} {}",
        record.canonical(),
        keywords.join(" "),
        hit.description.as_deref().unwrap_or_default().to_lowercase()
    );
    Some(Shown { name: record.name().clone(), owners: record.owners().clone(), hit, text, keywords })
}

/// How well a crate fits; `None` if a word is nowhere in it. Name before keyword before description.
fn rank(shown: &Shown, words: &[String]) -> Option<u8> {
    let name = shown.name.canonical();
    let name = name.as_str();
    let mut best = 0;
    for word in words {
        // `-` and `_` are one in names; a description is searched as it was written.
        let canonical = word.replace('-', "_");
        best = best.max(match () {
            () if name == canonical => 5,
            () if name.starts_with(&canonical) => 4,
            () if name.contains(&canonical) => 3,
            () if shown.keywords.contains(word) => 2,
            () if shown.text.contains(word.as_str()) => 1,
            () => return None,
        });
    }
    Some(best)
}
