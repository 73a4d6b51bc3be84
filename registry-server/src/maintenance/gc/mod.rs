//! Garbage collection: files that nothing names, because their publish died between storing the bytes and writing the record; catalog files
//! that do not count any more; what a proof of the store left.
//!
//! Two phases, in two runs. A run lists the files of each crate, reads its record afterwards, and writes what the record does not name and is
//! older than [`Grace::file`] into a plan. A later run takes a plan that is at least [`Grace::plan`] old, reads the records again, and deletes
//! what is still not named and still the same object. All ages are by the store's own clock.
//!
//! When a record vanished nobody wrote down, and the files of its crate may be years old. So files of a crate without a record wait from the run
//! on that first saw that, for [`Grace::gone`]: plans hand on since when, until a run finds a record again.
//!
//! Why that is safe. A file's key is used by one attempt to publish, once. An attempt gives up after an hour, long before [`Grace::file`] has
//! passed: it looks at the time after its mark is in the record, and commits on the mark's ETag. So an attempt that might still name an old file has its mark in
//! the record now, and crates with a mark are left alone; so are those whose record cannot be read, whatever the reason.
//!
//! What must never exist here: the deletion of a record; a deletion because something failed; a deletion by what one listing said.

mod catalogs;
mod plan;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use self::plan::{Candidate, Plan};
pub use self::rules::{GcMutant, GcRules};
use super::progress::Progress;
use super::survey::{self, Files, READS_AT_ONCE, Reading};
use crate::krate::Record;
use crate::registry::{Registry, RegistryError};
use crate::store::key::CanonicalName;
use crate::store::{Entry, Key, Prefix, Store, StoreError, clock};

/// How old things have to be.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// A file that nothing names.
    pub file: Duration,
    /// A plan, before it is acted on.
    pub plan: Duration,
    /// How long nothing of a crate goes after it was deleted, after its record was put back to an earlier state, and after a run saw for the first
    /// time that it has no record at all: somebody may want to mend that first.
    pub gone: Duration,
    /// The rules that hold: all, but in tests.
    pub rules: GcRules,
}

impl Default for Grace {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self { file: 48 * hour, plan: hour, gone: 30 * 24 * hour, rules: GcRules::default() }
    }
}

/// What a run did. The form of `gc`'s JSON: fields are added, never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// 1.
    pub schema: u32,
    /// Where.
    pub store: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// When it began, by the store's clock.
    pub at: Option<Timestamp>,
    /// What plans of earlier runs led to: deleted, or to be deleted but for `dry_run`.
    pub deleted: Vec<Deleted>,
    /// Plans that are too young to act on.
    pub plans_waiting: usize,
    /// What was found now, for a later run.
    pub planned: Vec<Deleted>,
    /// Crates that were left alone although they have files that nothing seems to name.
    pub skipped: Vec<Skipped>,
}

/// A file that is gone, or may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// Since when it has been there, by the store's clock.
    pub modified: Timestamp,
}

/// A crate that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The crate.
    #[serde(rename = "crate")]
    pub krate: String,
    /// Why.
    pub why: String,
    /// Whether somebody should look at it; if not, it is a matter of time.
    pub needs_help: bool,
}

/// One run.
pub struct Gc<'a> {
    registry: &'a Registry,
    store: Arc<dyn Store>,
    grace: Grace,
    dry_run: bool,
    progress: &'a Progress,
    report: Report,
    now: Timestamp,
    /// Files of crates without records that are in a plan already, and since when that is known.
    waiting: BTreeMap<Key, Timestamp>,
}

/// When files may go that the record of their crate does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// As soon as they are old enough.
    Old,
    /// There is no record that could name any: when that has been known for long enough.
    NoRecordForLong,
    /// Not now.
    Later,
}

/// Collects garbage once.
///
/// # Errors
/// The store does not answer; then what was deleted so far was deleted rightly.
pub async fn run(
    registry: &Registry,
    grace: Grace,
    dry_run: bool,
    progress: &Progress,
) -> Result<Report, RegistryError> {
    let store = registry.store().clone();
    progress.enter("asking the store for the time");
    let now = clock::now(&*store, registry.new_ulid()).await?;
    let report = Report { schema: 1, store: store.location(), dry_run, at: Some(now), ..Report::default() };
    let mut gc = Gc { registry, store, grace, dry_run, progress, report, now, waiting: BTreeMap::new() };
    gc.act_on_plans().await?;
    gc.look().await?;
    Ok(gc.report)
}

impl Gc<'_> {
    fn is_older(&self, modified: Timestamp, than: Duration) -> bool {
        if self.grace.rules.broken(GcMutant::NoGrace) {
            return true;
        }
        let age = SignedDuration::try_from(than).unwrap_or(SignedDuration::MAX);
        self.now.duration_since(modified) >= age
    }

    /// Whether files of this crate may go at all, and when; if not, why not, and whether somebody should look at it.
    fn may_touch(&self, record: &Reading<Record>) -> Result<When, (String, bool)> {
        if self.grace.rules.broken(GcMutant::MarksIgnored) && matches!(record, Reading::Sound(_)) {
            return Ok(When::Old);
        }
        match record {
            Reading::Missing => Ok(When::NoRecordForLong),
            Reading::Broken { why, .. } => Err((format!("its record cannot be read: {why}"), true)),
            Reading::Sound(record) if record.mark().is_some() => {
                Err(("a write is under way on its record".to_owned(), false))
            }
            // Somebody reserved the name, perhaps after the record was gone.
            Reading::Sound(record) if record.is_vacant() => Ok(When::NoRecordForLong),
            Reading::Sound(record) if self.is_in_doubt(record) => Ok(When::Later),
            Reading::Sound(_) => Ok(When::Old),
        }
    }

    /// A crate that was deleted, or went on from an earlier state, some time ago: somebody may want what it does not name.
    fn is_in_doubt(&self, record: &Record) -> bool {
        let since = record.recovered_at().max(record.deletion().map(|deletion| deletion.at));
        since.is_some_and(|at| !self.is_older(at, self.grace.gone))
    }

    /// The first phase: finds what nothing names, for a later run.
    async fn look(&mut self) -> Result<(), RegistryError> {
        self.progress.enter("looking for files that nothing names");
        let store = self.store.clone();
        let judged = survey::files(store.clone()).map_ok(|files| {
            let store = store.clone();
            async move {
                let record = survey::record(&*store, &files.krate).await?;
                Ok::<_, StoreError>((files, record))
            }
        });
        let mut judged = std::pin::pin!(judged.try_buffered(READS_AT_ONCE));
        let mut plan = Plan::default();
        while let Some((files, record)) = judged.try_next().await? {
            self.progress.krate();
            self.progress.blobs(files.entries.len());
            self.judge(&mut plan, &files, &record);
        }
        let probes = survey::entries(store.clone(), Prefix::Probes);
        let mut probes = std::pin::pin!(probes);
        while let Some(entry) = probes.try_next().await? {
            if self.is_older(entry.modified, self.grace.file) {
                plan.candidates.push(Candidate::of(&entry));
            }
        }
        plan.candidates.extend(self.surplus_catalogs().await?.iter().map(Candidate::of));
        // What waits together goes together: so a plan is acted on once, and the audit log has one entry of it.
        let (waiting, planned): (Vec<_>, Vec<_>) =
            plan.candidates.into_iter().partition(|candidate| candidate.no_record_since().is_some());
        self.report.planned = planned.iter().map(Candidate::shown).collect();
        if !self.dry_run {
            for candidates in [planned, waiting] {
                Plan { candidates }.store(&*self.store, || self.registry.new_ulid()).await?;
            }
        }
        Ok(())
    }

    fn judge(&mut self, plan: &mut Plan, files: &Files, record: &Reading<Record>) {
        let named = match record {
            Reading::Sound(record) => survey::named(record),
            _ => BTreeMap::new(),
        };
        let unnamed = files.entries.iter().filter(|entry| !named.contains_key(&entry.key));
        let mut old = unnamed.filter(|entry| self.is_older(entry.modified, self.grace.file)).peekable();
        if old.peek().is_none() {
            return;
        }
        match self.may_touch(record) {
            Ok(When::Old) => plan.candidates.extend(old.map(Candidate::of)),
            Ok(When::NoRecordForLong) => {
                let old: Vec<&Entry> = old.collect();
                self.wait(plan, &files.krate, &old);
            }
            Ok(When::Later) => {}
            Err((why, needs_help)) => self.skip(&files.krate, why, needs_help),
        }
    }

    /// Files of a crate without a record: those that are seen for the first time begin to wait.
    fn wait(&mut self, plan: &mut Plan, krate: &CanonicalName, old: &[&Entry]) {
        let mut first = self.now;
        for entry in old {
            match self.waiting.get(&entry.key) {
                Some(since) => first = first.min(*since),
                None => plan.candidates.push(Candidate::of(entry).without_record(self.now)),
            }
        }
        let days = self.grace.gone.as_secs() / (24 * 60 * 60);
        let count = old.len();
        let why = format!(
            "it has no record, as has been known since {first:.0}; {count} files of it are kept for {days} days from then on: \
             if it is to come back, see `fsck`"
        );
        self.skip(krate, why, false);
    }

    fn skip(&mut self, krate: &CanonicalName, why: String, needs_help: bool) {
        let krate = krate.as_str().to_owned();
        if !self.report.skipped.iter().any(|skipped| skipped.krate == krate) {
            self.report.skipped.push(Skipped { krate, why, needs_help });
        }
    }

    /// The second phase: deletes what an earlier run found and is still the same.
    async fn act_on_plans(&mut self) -> Result<(), RegistryError> {
        self.progress.enter("acting on what earlier runs found");
        let plans: Vec<Entry> = survey::entries(self.store.clone(), Prefix::GcPlans).try_collect().await?;
        for entry in plans {
            let Key::GcPlan(id) = entry.key else { continue };
            if !self.is_older(entry.modified, self.grace.plan) {
                self.report.plans_waiting += 1;
                continue;
            }
            // One that cannot be read says nothing: what it may have named is found again.
            if let Some(plan) = Plan::read(&*self.store, id).await? {
                let (deletable, waiting) = self.still_unnamed(&plan).await?;
                self.report.deleted.extend(deletable.iter().map(Candidate::shown));
                if !self.dry_run {
                    plan::record_deletions(self.registry, id, &deletable).await?;
                    for candidate in &deletable {
                        self.store.delete(&candidate.key()?).await?;
                    }
                    waiting.store(&*self.store, || self.registry.new_ulid()).await?;
                }
            }
            if !self.dry_run {
                self.store.delete(&entry.key).await?;
            }
        }
        Ok(())
    }

    /// What of a plan is still the same object, and still not named by a record that was read after that was seen; and what of it has to wait in
    /// another one.
    async fn still_unnamed(&mut self, plan: &Plan) -> Result<(Vec<Candidate>, Plan), RegistryError> {
        let mut by_crate: BTreeMap<CanonicalName, Vec<&Candidate>> = BTreeMap::new();
        let (mut deletable, mut waiting, mut catalogs) = (Vec::new(), Plan::default(), Vec::new());
        for candidate in &plan.candidates {
            match candidate.key()? {
                Key::Blob { krate, .. } => by_crate.entry(krate).or_default().push(candidate),
                Key::Catalog(_) => catalogs.push(candidate),
                Key::Probe { .. } => deletable.push(candidate.clone()),
                other => {
                    let reason = format!("it names {other}, which is not for it to delete");
                    return Err(RegistryError::Broken { what: "a plan of the garbage collection".into(), reason });
                }
            }
        }
        if !catalogs.is_empty() {
            let surplus = self.surplus_catalogs().await?;
            let still = catalogs.into_iter().filter(|candidate| surplus.iter().any(|entry| candidate.is(entry)));
            deletable.extend(still.cloned());
        }
        for (krate, candidates) in by_crate {
            self.look_again(&krate, &candidates, &mut deletable, &mut waiting).await?;
        }
        Ok((deletable, waiting))
    }

    /// The same, of one crate.
    async fn look_again(
        &mut self,
        krate: &CanonicalName,
        candidates: &[&Candidate],
        deletable: &mut Vec<Candidate>,
        waiting: &mut Plan,
    ) -> Result<(), RegistryError> {
        let listed: BTreeMap<Key, Entry> = survey::entries(self.store.clone(), Prefix::Blobs(krate.clone()))
            .map_ok(|entry| (entry.key.clone(), entry))
            .try_collect()
            .await?;
        let record = survey::record(&*self.store, krate).await?;
        let named = match &record {
            Reading::Sound(record) => survey::named(record),
            _ => BTreeMap::new(),
        };
        let when = match self.may_touch(&record) {
            Ok(When::Later) => return Ok(()),
            Ok(when) => when,
            Err((why, needs_help)) => {
                self.skip(krate, why, needs_help);
                return Ok(());
            }
        };
        let second_look = !self.grace.rules.broken(GcMutant::NoSecondLook);
        for candidate in candidates {
            let key = candidate.key()?;
            let same = listed
                .get(&key)
                .is_some_and(|entry| candidate.is(entry) && self.is_older(entry.modified, self.grace.file));
            if second_look && (!same || named.contains_key(&key)) {
                continue;
            }
            match (when, candidate.no_record_since()) {
                (When::NoRecordForLong, Some(since)) if !self.is_older(since, self.grace.gone) => {
                    if self.waiting.insert(key, since).is_none() {
                        waiting.candidates.push((*candidate).clone());
                    }
                }
                // It was planned for another reason than the one that it might go for now: that begins anew.
                (When::NoRecordForLong, None) | (When::Old, Some(_)) => {}
                _ => deletable.push((*candidate).clone()),
            }
        }
        Ok(())
    }
}
