//! What came after an earlier state of a record, or may have: whoever puts that state back takes it away again.
//!
//! The audit log tells most changes, but no entry proves that there was none: a writer may be killed between its commit and its entry. So each
//! trace that a later state may have left is a sign, and counts until somebody says that it does not matter.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::restore::{Earlier, LostRecord};
use super::{Fsck, GIVEN_UP, listed};
use crate::krate::Record;
use crate::maintenance::survey::{self, READS_AT_ONCE, Reading};
use crate::registry::audit::{ENTRY_BYTES_MAX, Told};
use crate::registry::is_of_a_recovery;
use crate::replicas::head::{Announced, HEAD_BYTES_MAX, Head};
use crate::store::{Entry, Key, Prefix, StoreError};

/// How far the clocks of two writers may differ: changes from so long before the state's last one are looked at, too.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// What is known of the time after a state.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// What the audit log tells, oldest first.
    told: Vec<Told>,
    /// What else says that there may have been changes, in words.
    signs: Vec<String>,
    /// The highest `rev` that anything names.
    pub(super) rev: u64,
}

impl Later {
    /// The changes that users asked for; `None`: none is known.
    fn changes(&self) -> Option<String> {
        let changes: Vec<_> = self.told.iter().filter(|told| told.is_of_a_user()).map(Told::to_string).collect();
        (!changes.is_empty()).then(|| listed(changes.into_iter()))
    }

    /// What would be lost, or may be; `None`: nothing says that anything would.
    pub(super) fn would_be_lost(&self) -> Option<String> {
        let certain = self.changes().map(|changes| format!("these changes would be lost: {changes}"));
        let perhaps = (!self.signs.is_empty())
            .then(|| format!("changes that nothing tells of may have come after it: {}", self.signs.join("; ")));
        match (certain, perhaps) {
            (Some(certain), Some(perhaps)) => Some(format!("{certain}; and {perhaps}")),
            (one, other) => one.or(other),
        }
    }

    /// What has to be done again by hand.
    pub(super) fn lost(&self) -> String {
        let mut text = match (self.changes(), self.signs.is_empty()) {
            (Some(changes), _) => format!("; lost, and to be done again: {changes}"),
            (None, true) => "; the audit log has no change of it after that".to_owned(),
            (None, false) => String::new(),
        };
        if !self.signs.is_empty() {
            text += &format!("; lost with it may be what nothing tells of: {}", self.signs.join("; "));
        }
        text
    }
}

impl Fsck<'_> {
    /// What came after the state that is to be put back, or may have. `there`: what lies in its place, as far as it can be read.
    pub(super) async fn after(
        &self,
        earlier: &Earlier,
        lost: &LostRecord,
        there: Option<&Record>,
    ) -> Result<Later, StoreError> {
        let Earlier { record, past, unreadable } = earlier;
        let mut later = self.told_after(record).await?;
        let known = later.rev;
        let mut signs = std::mem::take(&mut later.signs);
        let mut sign = |text: String| signs.push(text);
        // A commit replaces its mark. So this one was still to come, or is what was damaged.
        if record.mark().is_some() {
            sign("that version has the mark of a write, whose outcome is not known".to_owned());
        }
        if let Some(there) = there.filter(|there| there.rev() > known) {
            sign(format!("what lies there now says that it is rev {}", there.rev()));
        }
        let announced = self.announced(&Key::Crate(lost.krate.clone())).await?;
        // What stands under its mark is not committed, and what a repair announced is the state that it was about to put back.
        let marked = there.and_then(Record::mark);
        let of_writers = announced.iter().filter(|one| Some(&one.op) != marked && !is_of_a_recovery(&one.op));
        if let Some(rev) = of_writers.map(|one| one.rev).max().filter(|rev| *rev > known) {
            sign(format!("the head announces rev {rev}"));
        }
        if !unreadable.is_empty() {
            sign(format!("{} later versions of it cannot be read: {}", unreadable.len(), listed(unreadable.iter())));
        }
        let named = survey::named(record);
        let since = past.modified.checked_sub(GIVEN_UP).unwrap_or(Timestamp::MIN);
        let told: BTreeSet<&str> = later.told.iter().filter_map(Told::published).collect();
        let is_told =
            |key: &Key| matches!(key, Key::Blob { version, .. } if told.contains(&*version.version().to_string()));
        let is_young = |entry: &&Entry| entry.modified >= since && !named.contains_key(&entry.key);
        let young = lost.files.iter().filter(is_young).map(|entry| &entry.key).filter(|key| !is_told(key));
        let young: Vec<_> = young.collect();
        if !young.is_empty() {
            sign(format!("it does not name files that were stored since: {}", listed(young.iter())));
        }
        later.signs = signs;
        let revs = announced.iter().map(|one| one.rev).chain(there.map(Record::rev));
        later.rev = revs.fold(known, u64::max);
        Ok(later)
    }

    /// What the audit log knows of the crate's changes after this state.
    pub(super) async fn told_after(&self, record: &Record) -> Result<Later, StoreError> {
        let last = record.ops().last().map_or(Timestamp::UNIX_EPOCH, |op| op.at);
        let since = last.checked_sub(CLOCKS_DIFFER).unwrap_or(last);
        let entries = survey::entries(self.store.clone(), Prefix::Audits);
        let young = entries.try_filter(|entry| {
            let is_young = matches!(&entry.key, Key::Audit(audit)
                if audit.follows_from_a_record() && !audit.is_before(since));
            std::future::ready(is_young)
        });
        let reads = young.map_ok(|entry| async move {
            let read = survey::read(&*self.store, &entry.key, ENTRY_BYTES_MAX).await?;
            Ok::<_, StoreError>(match read {
                Reading::Sound(stored) => Told::parse(&stored.bytes).map_err(|_| entry.key),
                Reading::Missing | Reading::Broken { .. } => Err(entry.key),
            })
        });
        let (mut later, mut unreadable) = (Later { rev: record.rev(), ..Later::default() }, Vec::new());
        let mut reads = std::pin::pin!(reads.try_buffered(READS_AT_ONCE));
        while let Some(read) = reads.try_next().await? {
            match read {
                Ok(Some(told)) if told.rev > record.rev() && told.krate.canonical() == record.canonical() => {
                    later.rev = later.rev.max(told.rev);
                    later.told.push(told);
                }
                Ok(_) => {}
                Err(key) => unreadable.push(key.to_string()),
            }
        }
        later.told.sort_by_key(|told| told.rev);
        if !unreadable.is_empty() {
            let count = unreadable.len();
            let keys = listed(unreadable.into_iter());
            later.signs.push(format!("{count} entries of the audit log since then cannot be read: {keys}"));
        }
        Ok(later)
    }

    /// What the head announces for a record.
    async fn announced(&self, key: &Key) -> Result<Vec<Announced>, StoreError> {
        let read = survey::read(&*self.store, &Key::Head, HEAD_BYTES_MAX).await?;
        let head = if let Reading::Sound(stored) = read { Head::parse(&stored.bytes).ok() } else { None };
        let ring = head.into_iter().flat_map(|head| head.ring);
        Ok(ring.filter(|announced| announced.key().as_ref() == Some(key)).collect())
    }
}
