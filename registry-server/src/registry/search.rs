//! Search: a listing of all records, of which only those that changed since the last look are read.
//!
//! One LIST request per thousand crates and search; the results of what a listing shows are as fresh as the listing.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures::StreamExt;
use tokio::time::Instant;

use super::documents::Purpose;
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::{Canonical, CrateName, Owner, Record};
use crate::store::{Entry, Etag, Key, Prefix, list_all};

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
pub(super) struct Catalog(tokio::sync::Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    /// When the last refresh began: it holds for all searches that arrived before that.
    refreshed: Option<Instant>,
    rows: BTreeMap<Canonical, Row>,
}

#[derive(Debug)]
struct Row {
    etag: Etag,
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
    pub async fn search(&self, principal: &Principal, query: &str, limit: usize) -> Result<Found, RegistryError> {
        self.check_ready()?;
        let arrived = Instant::now();
        let mut catalog = self.search.0.lock().await;
        if catalog.refreshed.is_none_or(|refreshed| refreshed < arrived) {
            let begun = Instant::now();
            self.refresh(&mut catalog.rows).await?;
            catalog.refreshed = Some(begun);
        }
        let words: Vec<String> = query.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let readable =
            |shown: &&Shown| self.authorise(principal, Action::Read, &shown.name, Some(&shown.owners)).is_ok();
        let mut fitting: Vec<_> = catalog
            .rows
            .values()
            .filter_map(|row| row.shown.as_ref())
            .filter_map(|shown| Some((rank(shown, &words)?, shown)))
            .filter(|(_, shown)| readable(shown))
            .collect();
        fitting.sort_by_key(|(rank, shown)| (Reverse(*rank), shown.name.as_str()));
        let hits = fitting.iter().take(limit).map(|(_, shown)| shown.hit.clone()).collect();
        Ok(Found { hits, total: fitting.len() })
    }

    async fn refresh(&self, rows: &mut BTreeMap<Canonical, Row>) -> Result<(), RegistryError> {
        let listed: BTreeMap<Canonical, Etag> =
            list_all(&*self.store, &Prefix::Crates).await?.into_iter().filter_map(canonical_of).collect();
        rows.retain(|name, _| listed.contains_key(name));
        let changed = listed.into_iter().filter(|(name, etag)| rows.get(name).is_none_or(|row| row.etag != *etag));
        let reads = changed.map(|(name, etag)| async move { (self.row(&name, etag).await, name) });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        let mut read = Vec::new();
        while let Some((row, name)) = reads.next().await {
            read.push((name, row?));
        }
        drop(reads);
        rows.extend(read);
        Ok(())
    }

    async fn row(&self, name: &Canonical, listed: Etag) -> Result<Row, RegistryError> {
        let key = Key::krate(name.as_str()).expect("a canonical name is a key segment");
        match self.documents.read::<Record>(&key, Purpose::Other).await {
            Ok(Some(state)) => Ok(Row { etag: state.etag.clone(), shown: show(&state.document) }),
            Ok(None) => Ok(Row { etag: listed, shown: None }),
            Err(RegistryError::Broken { what, reason }) => {
                tracing::error!(what, reason, "a crate record cannot be read; search leaves it out");
                Ok(Row { etag: listed, shown: None })
            }
            Err(error) => Err(error),
        }
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
