//! All rows: a base, and what has changed since it was built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::base::Base;
use super::fit::Texts;
use super::query::{Query, Sort};
use super::row::Row;
use crate::krate::Canonical;

mod fitting;

use self::fitting::{Fitting, Place};

/// What a search finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The hits on the page that was asked for.
    pub hits: Vec<Hit>,
    /// How many crates fit, of those that the caller may read.
    pub total: usize,
}

/// One crate that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What is known of it.
    pub row: Row,
    /// How often it was downloaded.
    pub downloads: u64,
}

/// All rows.
#[derive(Debug, Default)]
pub struct Table {
    base: Arc<Base>,
    /// Of the rows of the base.
    downloads: Vec<u64>,
    /// Rows of the base that are gone, or that have changed.
    gone: BTreeSet<usize>,
    changed: BTreeMap<Canonical, Changed>,
}

#[derive(Debug)]
struct Changed {
    row: Arc<Row>,
    texts: Texts,
    downloads: u64,
    /// How many rows of the base have a smaller name.
    before: usize,
}

/// All rows as they were at one moment.
#[derive(Debug)]
pub struct Snapshot {
    base: Arc<Base>,
    gone: BTreeSet<usize>,
    changed: BTreeMap<Canonical, Arc<Row>>,
}

impl From<Base> for Table {
    fn from(base: Base) -> Self {
        Self { downloads: vec![0; base.len()], base: Arc::new(base), ..Self::default() }
    }
}

impl Table {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.base.len() - self.gone.len() + self.changed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many have changed since the base was built, and are searched one by one.
    pub fn changed(&self) -> usize {
        self.changed.len()
    }

    /// Whether so many have changed that a new base is worth its making.
    pub fn wants_base(&self) -> bool {
        self.changed.len() + self.gone.len() > 64 + self.base.len() / 128
    }

    /// Puts a row in the place of the one with its name.
    pub fn put(&mut self, row: Row) {
        let name = row.canonical();
        let before = self.changed.get(&name).map(|changed| changed.downloads);
        let downloads = before.unwrap_or_else(|| self.hide(&name).map_or(0, |index| self.downloads[index]));
        let (texts, before) = (Texts::of(&row), self.base.place(name.as_str()));
        self.changed.insert(name, Changed { row: Arc::new(row), texts, downloads, before });
    }

    /// Takes a row out.
    pub fn remove(&mut self, name: &Canonical) {
        self.changed.remove(name);
        self.hide(name);
    }

    fn hide(&mut self, name: &Canonical) -> Option<usize> {
        let index = self.base.find(name.as_str()).ok()?;
        self.gone.insert(index);
        Some(index)
    }

    /// Sets the numbers of downloads; those of crates that `of` does not know become 0.
    pub fn set_downloads(&mut self, of: impl Fn(&str) -> u64) {
        self.downloads = (0..self.base.len()).map(|index| of(self.base.name(index))).collect();
        for (name, changed) in &mut self.changed {
            changed.downloads = of(name.as_str());
        }
    }

    /// All rows as they are now. Cheap: the base is shared.
    pub fn snapshot(&self) -> Snapshot {
        let changed = self.changed.iter().map(|(name, changed)| (name.clone(), changed.row.clone())).collect();
        Snapshot { base: self.base.clone(), gone: self.gone.clone(), changed }
    }

    /// Takes a base that was built from `snapshot`; what has changed since then stays changed.
    pub fn rebase(&mut self, base: Base, snapshot: &Snapshot) {
        if !Arc::ptr_eq(&self.base, &snapshot.base) {
            return;
        }
        let downloads = self.downloads_for(&base);
        let mut gone = BTreeSet::new();
        let mut hide = |name: &str| gone.extend(base.find(name).ok());
        self.gone.difference(&snapshot.gone).for_each(|index| hide(self.base.name(*index)));
        for (name, row) in &snapshot.changed {
            let same = self.changed.get(name).is_some_and(|changed| Arc::ptr_eq(&changed.row, row));
            if same {
                self.changed.remove(name);
            } else {
                hide(name.as_str());
            }
        }
        for (name, changed) in &mut self.changed {
            changed.before = base.place(name.as_str());
        }
        (self.base, self.downloads, self.gone) = (Arc::new(base), downloads, gone);
    }

    /// The numbers of downloads for the rows of another base.
    fn downloads_for(&self, base: &Base) -> Vec<u64> {
        let mut old = 0;
        let of = |index| {
            let name: &str = base.name(index);
            while old < self.base.len() && self.base.name(old) < name {
                old += 1;
            }
            if old < self.base.len() && self.base.name(old) == name && !self.gone.contains(&old) {
                return self.downloads[old];
            }
            let changed = Canonical::parse(name).and_then(|name| self.changed.get(&name));
            changed.map_or(0, |changed| changed.downloads)
        };
        (0..base.len()).map(of).collect()
    }

    /// The rows that fit, of those that `readable` lets through (`None`: all of them).
    pub fn search(&self, query: &Query, readable: Option<&dyn Fn(&str) -> bool>) -> Found {
        let fitting = Fitting::of(self, &query.words, readable);
        let (total, page) = match query.sort {
            _ if query.words.is_empty() && query.sort == Sort::Relevance => fitting.by_name(query),
            Sort::Alphabetic => fitting.by_name(query),
            Sort::Relevance => fitting.by_score(query),
            Sort::Downloads | Sort::RecentUpdates => fitting.by_number(query),
        };
        Found { hits: page.into_iter().map(|place| self.hit(place)).collect(), total }
    }

    fn hit(&self, place: Place) -> Hit {
        match place {
            Place::Base(index) => Hit { row: self.base.row(index), downloads: self.downloads[index] },
            Place::Changed(number) => {
                let changed = self.changed.values().nth(number).expect("a place in it");
                Hit { row: (*changed.row).clone(), downloads: changed.downloads }
            }
        }
    }
}

impl Snapshot {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.base.len() - self.gone.len() + self.changed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows, in the order of their names.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let mut index = 0;
        let mut changed = self.changed.iter().peekable();
        std::iter::from_fn(move || {
            while self.gone.contains(&index) {
                index += 1;
            }
            let old = (index < self.base.len()).then(|| self.base.name(index));
            let next = changed.next_if(|(name, _)| old.is_none_or(|old| name.as_str() < old));
            if let Some((_, row)) = next {
                return Some((**row).clone());
            }
            old?;
            index += 1;
            Some(self.base.row(index - 1))
        })
    }
}

#[cfg(test)]
mod tests;
