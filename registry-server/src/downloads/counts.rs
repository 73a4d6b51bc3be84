//! Numbers of downloads by crate and version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::krate::Canonical;

/// How often each version of each crate was downloaded, by canonical name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, Versions>);

/// How often each version of one crate was.
pub(super) type Versions = BTreeMap<String, u64>;

impl Counts {
    /// Counts `times` downloads of a version.
    pub fn add(&mut self, krate: &Canonical, version: &str, times: u64) {
        let versions = match self.0.get_mut(krate.as_str()) {
            Some(versions) => versions,
            None => self.0.entry(krate.as_str().to_owned()).or_default(),
        };
        match versions.get_mut(version) {
            Some(count) => *count = count.saturating_add(times),
            None => _ = versions.insert(version.to_owned(), times),
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: Self) {
        for (krate, versions) in other.0 {
            add_all(self.0.entry(krate).or_default(), versions);
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many downloads there are in all.
    pub fn sum(&self) -> u64 {
        self.0.values().map(sum).fold(0, u64::saturating_add)
    }

    /// Whether all names are those of crates: what a stored delta has to show.
    pub(super) fn is_sound(&self) -> bool {
        self.0.keys().all(|name| Canonical::parse(name).is_some())
    }

    pub(super) fn into_crates(self) -> impl Iterator<Item = (String, Versions)> {
        self.0.into_iter()
    }
}

pub(super) fn add_all(versions: &mut Versions, more: Versions) {
    for (version, times) in more {
        let count = versions.entry(version).or_default();
        *count = count.saturating_add(times);
    }
}

pub(super) fn sum(versions: &Versions) -> u64 {
    versions.values().fold(0, |sum, count| sum.saturating_add(*count))
}
