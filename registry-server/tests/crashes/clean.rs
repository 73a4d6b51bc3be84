//! What a dead process may leave, and that nothing of it stays.

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{self, Code, Options, Report};
use supercargo_registry::maintenance::gc::{self, Grace};
use supercargo_registry::registry::Registry;
use supercargo_registry::store::{MemoryStore, Prefix, list_all};

use crate::support;

const HOUR: Duration = Duration::from_secs(3600);
/// A crash between the bytes and the record, a mark without its writer, a change that is not in the log yet.
const LEFT: [Code; 3] = [Code::Ghost, Code::DeadMark, Code::AuditMissing];

/// Checks everything, as if all of it were older than anything can be that is still under way.
async fn check(registry: &Registry, repair: bool) -> Report {
    let options =
        Options { deep: true, repair, accept_loss: false, now: Some("2100-01-01T00:00:00Z".parse().unwrap()) };
    fsck::run(registry, options, &Progress::default()).await.expect("no faults")
}

/// The garbage collection on three days.
pub(crate) async fn collect(registry: &Registry) {
    for _ in 0..3 {
        tokio::time::advance(49 * HOUR).await;
        gc::run(registry, Grace::default(), false, &Progress::default()).await.expect("no faults");
    }
}

/// Nothing is wrong but what a dead process may leave; that goes by a repair and the garbage collection, and nothing else with it.
/// What was left.
pub(crate) async fn ends_clean(store: &Arc<MemoryStore>, place: &str) -> Vec<Code> {
    let registry = support::registry_in(store.clone(), 77).await;
    let report = check(&registry, false).await;
    let left: Vec<_> = report.problems.iter().map(|problem| problem.code).collect();
    assert!(left.iter().all(|code| LEFT.contains(code)), "{place}: {:#?}", report.problems);
    let plans = list_all(&**store, &Prefix::GcPlans).await.unwrap();
    if left.is_empty() && plans.is_empty() {
        return left;
    }
    let mended = check(&registry, true).await;
    let not_mended: Vec<_> = mended.problems.iter().filter(|p| !p.repaired).map(|p| p.code).collect();
    assert!(not_mended.iter().all(|code| *code == Code::Ghost), "{place}: {:#?}", mended.problems);
    collect(&registry).await;
    let report = check(&registry, false).await;
    assert!(report.problems.is_empty(), "{place}: {:#?}", report.problems);
    let named = mended.counts.files - not_mended.len() as u64;
    assert_eq!((report.counts.versions, report.counts.files), (mended.counts.versions, named), "{place}");
    for prefix in [Prefix::GcPlans, Prefix::Probes] {
        let left = list_all(&**store, &prefix).await.unwrap();
        assert!(left.is_empty(), "{place}: {left:?}");
    }
    left
}
