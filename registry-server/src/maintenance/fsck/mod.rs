//! Checking a whole store: that every record is sound, every version's file is there, every change is in the audit log, and nothing lies about
//! that nobody needs. Safe while servers run: what is read first may only make the rest look older, and what is found wrong is looked at again.
//!
//! `--repair` clears dead marks, writes missing entries of the audit log, and puts back records and files that were damaged or deleted, from the
//! history of a bucket with versioning. All its writes go through the registry's own steps or create what follows from a record; it
//! deletes nothing.

mod crates;
mod derived;
mod later;
mod report;
mod rest;
mod restore;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};

pub use self::report::{Code, Counts, Problem, Report};
use self::restore::LostRecord;
use super::progress::Progress;
use super::survey::{self, Files, READS_AT_ONCE};
use crate::krate::record::OpId;
use crate::registry::audit::{self, Entry as AuditEntry};
use crate::registry::{Registry, RegistryError};
use crate::store::key::CanonicalName;
use crate::store::{Etag, Key, Prefix, Store, StoreError, Ulid, clock};

/// A mark that has stood for this long is a dead writer's; an entry of the audit log that is missing for this long will not come by itself.
const SETTLED: Duration = Duration::from_secs(5 * 60);
/// A file that nothing names is worth a word when the garbage collection has had its chance.
const GHOST: Duration = Duration::from_secs(72 * 60 * 60);

/// A file that was stored so long ago without being named will not be: a publish gives up after an hour.
const GIVEN_UP: Duration = Duration::from_secs(2 * 60 * 60);
/// How many things of a kind are listed in words.
const LISTED_MAX: usize = 20;

/// What to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Read every file and compare its checksum.
    pub deep: bool,
    /// Mend what can be mended without loss: where nothing says that changes may be lost with it.
    pub repair: bool,
    /// Put a record back, too, if changes that came after that state are lost then, or may be.
    pub accept_loss: bool,
    /// The time, if the store cannot be asked because nothing may be written.
    pub now: Option<Timestamp>,
}

/// How a problem can be mended.
#[derive(Debug)]
enum Fix {
    ClearMark(Key, OpId),
    WriteAudit(AuditEntry),
    CatchUp { krate: CanonicalName, announced: u64 },
    RestoreRecord(LostRecord),
    RestoreFile { key: Key, size: u64 },
    RestoreTotal(Option<Etag>),
    RestoreDelta { counter: Ulid, number: u64 },
}

/// What a part of the check found.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<(Problem, Option<Fix>)>,
    counts: Counts,
}

impl Findings {
    fn add(&mut self, code: Code, key: &Key, what: impl Into<String>) {
        self.add_fixable(code, key, what, None);
    }

    fn add_fixable(&mut self, code: Code, key: &Key, what: impl Into<String>, fix: Option<Fix>) {
        self.add_with_remedy(code, key, what, code.remedy(), fix);
    }

    fn add_with_remedy(&mut self, code: Code, key: &Key, what: impl Into<String>, remedy: &str, fix: Option<Fix>) {
        let (key, what, remedy) = (key.to_string(), what.into(), remedy.to_owned());
        self.problems.push((Problem { code, key, what, remedy, repaired: false, repair: None }, fix));
    }

    fn take_over(&mut self, other: Self) {
        self.problems.extend(other.problems);
        let Counts {
            crates,
            deleted_crates,
            reserved_names,
            versions,
            files,
            file_bytes,
            bytes_compared,
            tokens,
            audit_entries,
            catalog_crates,
            downloads_deltas,
            foreign,
        } = other.counts;
        let counts = &mut self.counts;
        counts.crates += crates;
        counts.deleted_crates += deleted_crates;
        counts.reserved_names += reserved_names;
        counts.versions += versions;
        counts.files += files;
        counts.file_bytes += file_bytes;
        counts.bytes_compared += bytes_compared;
        counts.tokens += tokens;
        counts.audit_entries += audit_entries;
        counts.catalog_crates += catalog_crates;
        counts.downloads_deltas += downloads_deltas;
        counts.foreign += foreign;
    }
}

/// One check.
struct Fsck<'a> {
    registry: &'a Registry,
    store: Arc<dyn Store>,
    options: Options,
    progress: &'a Progress,
    now: Timestamp,
    /// The identities of the changes that are in the audit log.
    audited: HashSet<String>,
}

/// Checks the whole store once.
///
/// # Errors
/// The store does not answer. What is wrong with single objects is no error, but in the report.
pub async fn run(registry: &Registry, options: Options, progress: &Progress) -> Result<Report, RegistryError> {
    let store = registry.store().clone();
    progress.enter("asking the store for the time");
    let now = match options.now {
        Some(now) => now,
        None => clock::now(&*store, registry.new_ulid()).await?,
    };
    let mut fsck = Fsck { registry, store, options, progress, now, audited: HashSet::new() };
    let mut found = Findings::default();
    found.take_over(fsck.check_head().await?);
    progress.enter("reading the audit log");
    let mut audits = std::pin::pin!(survey::entries(fsck.store.clone(), Prefix::Audits));
    while let Some(entry) = audits.try_next().await? {
        // One without bytes was lost with the power.
        if let Key::Audit(audit) = entry.key
            && entry.len > 0
        {
            fsck.audited.insert(audit.op().to_owned());
        }
    }
    found.counts.audit_entries = fsck.audited.len() as u64;
    found.take_over(fsck.check_crates().await?);
    found.take_over(fsck.check_tokens().await?);
    found.take_over(fsck.check_catalog().await?);
    found.take_over(fsck.check_downloads().await?);
    let mut report = Report::new(fsck.store.location(), now, options.deep, options.repair);
    fsck.count_foreign(&mut report).await?;
    let foreign = report.counts.foreign;
    report.counts = Counts { foreign, ..found.counts };
    // Where a record is gone, that it is behind the head is no news.
    let gone: HashSet<String> = found
        .problems
        .iter()
        .filter(|(p, _)| matches!(p.code, Code::RecordMissing | Code::HistoryUnreadable))
        .map(|(p, _)| p.key.clone())
        .collect();
    found.problems.retain(|(problem, _)| problem.code != Code::HeadAhead || !gone.contains(&problem.key));
    found.problems.sort_by(|(one, _), (other, _)| (one.code, &one.key).cmp(&(other.code, &other.key)));
    fsck.mend_all(&mut report, found.problems).await;
    // Without the total nobody knew which deltas are missing.
    let total = Key::DownloadsTotal.to_string();
    if report.problems.iter().any(|problem| problem.repaired && problem.key == total) {
        let mut found = fsck.check_downloads().await?.problems;
        found.retain(|(one, _)| !report.problems.iter().any(|other| (one.code, &one.key) == (other.code, &other.key)));
        fsck.mend_all(&mut report, found).await;
    }
    report.problems.sort_by(|one, other| (one.code, &one.key).cmp(&(other.code, &other.key)));
    Ok(report)
}

impl Fsck<'_> {
    fn is_older(&self, at: Timestamp, than: Duration) -> bool {
        let age = SignedDuration::try_from(than).unwrap_or(SignedDuration::MAX);
        self.now.duration_since(at) >= age
    }

    async fn check_crates(&self) -> Result<Findings, RegistryError> {
        self.progress.enter("listing records");
        let mut records: BTreeMap<CanonicalName, Timestamp> = BTreeMap::new();
        let mut listed = std::pin::pin!(survey::entries(self.store.clone(), Prefix::Crates));
        while let Some(entry) = listed.try_next().await? {
            if let Key::Crate(krate) = entry.key {
                records.insert(krate, entry.modified);
            }
        }
        self.progress.enter(if self.options.deep { "checking crates and reading files" } else { "checking crates" });
        let mut found = Findings::default();
        let mut with_files = HashSet::new();
        let checks = survey::files(self.store.clone()).map_ok(|files| async {
            let modified = records.get(&files.krate).copied();
            let krate = files.krate.clone();
            Ok::<_, StoreError>((krate, self.check_crate(files, modified).await?))
        });
        let mut checks = std::pin::pin!(checks.try_buffered(READS_AT_ONCE));
        while let Some((krate, findings)) = checks.try_next().await? {
            with_files.insert(krate);
            found.take_over(findings);
        }
        let rest = records.iter().filter(|(krate, _)| !with_files.contains(*krate)).map(|(krate, modified)| {
            let files = Files { krate: krate.clone(), entries: Vec::new() };
            self.check_crate(files, Some(*modified))
        });
        let mut rest = std::pin::pin!(futures::stream::iter(rest).buffered(READS_AT_ONCE));
        while let Some(findings) = rest.try_next().await? {
            found.take_over(findings);
        }
        Ok(found)
    }

    /// Mends, if that is wanted, and reports.
    async fn mend_all(&self, report: &mut Report, found: Vec<(Problem, Option<Fix>)>) {
        self.progress.enter("mending");
        for (mut problem, fix) in found {
            if let (true, Some(fix)) = (self.options.repair, fix) {
                self.mend(&mut problem, fix).await;
            }
            report.problems.push(problem);
        }
    }

    async fn mend(&self, problem: &mut Problem, fix: Fix) {
        let mended = match fix {
            Fix::ClearMark(key, mark) => self.registry.clear_mark(&key, &mark).await.map(|cleared| {
                let text = if cleared { "the mark is cleared" } else { "somebody else wrote the record meanwhile" };
                text.to_owned()
            }),
            Fix::WriteAudit(entry) => {
                let written = audit::write(&*self.store, self.registry.entropy(), &entry).await;
                written.map(|()| "the entry is written".to_owned()).map_err(RegistryError::from)
            }
            Fix::CatchUp { krate, announced } => self.catch_up(&krate, announced).await,
            Fix::RestoreRecord(lost) => self.restore_record(&lost).await,
            Fix::RestoreFile { key, size } => self.restore_file(&key, size).await,
            Fix::RestoreTotal(damaged) => self.restore_total(damaged.as_ref()).await,
            Fix::RestoreDelta { counter, number } => self.restore_delta(counter, number).await,
        };
        problem.repaired = mended.is_ok();
        problem.repair = Some(mended.unwrap_or_else(|error| {
            format!("it could not be mended: {}", error.cause().unwrap_or_else(|| error.to_string()))
        }));
    }
}

/// The first of them in words.
fn listed(items: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let more = items.len().saturating_sub(LISTED_MAX);
    let mut text = items.take(LISTED_MAX).map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
