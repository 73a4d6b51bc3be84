//! The start-up proof: does this store keep the promises that [`crate::store`] lists?
//!
//! A store can answer every conditional write correctly, one at a time, and still lose updates when two come together; several well-known
//! servers did in 2025 and 2026. A registry on such a store loses published crates. So a server asks before it serves, at every start
//! (a bucket can move to another server between two), and stays unready if the answer is no. The steps, each a name in [`Verdict`]:
//!
//! | step | what is done | what it finds |
//! |---|---|---|
//! | `reach` | read a key that is not there | wrong endpoint, credentials, bucket |
//! | `create` | create; create again | stores that ignore `If-None-Match` |
//! | `replace` | replace with the right ETag (quoted, else bare), with a stale one, with a wrong one, on an absent key | stores that ignore `If-Match` |
//! | `refused` | read back: no refused body has landed | check after write |
//! | `not-modified` | read with the current ETag | 304 and ETags that agree between write, read and list |
//! | `fresh` | write, overwrite, delete on one connection; read and list on another | stale caches |
//! | `stalled` | a conditional put stops in the middle of its body, another with the same condition comes, the first goes on | check before the body, found with certainty |
//! | `race` | 16 at once create or replace one key, 200 bytes and 1 MB, over several connections and addresses | check-then-act, at commit |
//! | `register` | 8 workers read, add and compare-and-swap one object | a read that pairs an ETag with other bytes |
//!
//! It writes below `v1/probe/{run}/` only, and deletes what it wrote: also when it is stopped, or dropped in the middle.

mod bench;
pub(super) mod race;
pub(super) mod register;
mod sequence;
mod stalled;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::bench::Failed;
use self::bench::{Bench, Ended, OrBroken as _};
pub use self::verdict::{Outcome, StepReport, Verdict, VerdictKind};
use super::{Cond, Key, Put, Store, StoreError, Ulid};

/// How a server wants ETags in conditions. HTTP (RFC 9110, 8.8.3) quotes them; a few S3 servers hold only the bare form for equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagDialect {
    /// `"9a0364b9e99bb480dd25e1f0284c8555"`
    Quoted,
    /// `9a0364b9e99bb480dd25e1f0284c8555`
    Bare,
}

/// A store that can be put to the proof. What has a default is right for stores within one process.
#[async_trait]
pub trait Provable: Store {
    /// The same objects, reached over connections of its own; by another address where the endpoint's name has several. `number`
    /// is 1 for the first witness.
    async fn witness(&self, number: usize) -> Result<Arc<dyn Provable>, StoreError>;

    /// Whether other processes can reach the same objects. If not, writers meet inside this one only, and what happens then is a
    /// matter of its own code and tests: the steps that look for races are left out.
    fn is_shared(&self) -> bool {
        true
    }

    /// The dialects to try, the most likely first.
    fn etag_dialects(&self) -> &'static [EtagDialect] {
        &[EtagDialect::Quoted]
    }

    /// Uses a dialect from now on, in the witnesses too.
    fn speak(&self, _dialect: EtagDialect) {}

    /// A put that sends half its body, tells `handed_over`, and sends the rest when `go_on` is ready. Asked of shared stores only. `None`:
    /// puts here are one step, and cannot stall.
    async fn put_stalled(
        &self,
        _key: &Key,
        _bytes: Bytes,
        _cond: Cond,
        _handed_over: oneshot::Sender<()>,
        _go_on: BoxFuture<'static, ()>,
    ) -> Option<Put> {
        None
    }
}

/// How hard to try. The default takes 500 to 700 small requests, a few dozen of 1 MB, and one to three seconds on a store nearby.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How many connections (and addresses) take part.
    pub connections: usize,
    /// How many puts race, with 200 bytes.
    pub racers: usize,
    /// How many puts race, with 1 MB.
    pub racers_large: usize,
    /// How many races there are of each kind with 200 bytes; with 1 MB there is one.
    pub race_rounds: usize,
    /// How many workers share the register.
    pub register_workers: usize,
    /// How often each of them reads, adds and compares-and-swaps.
    pub register_turns: usize,
    /// How long the second put of the stalled step may take before the first goes on: some servers hold a lock on the key while a body
    /// arrives, which is honest, if slow.
    pub stall: Duration,
    /// How long the second put is held back, so that the head of the first has been read. Costs no time: other steps run meanwhile.
    pub stall_head_start: Duration,
    /// For everything. What has not finished then counts as unreachable.
    pub deadline: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            connections: 4,
            racers: 16,
            racers_large: 8,
            race_rounds: 3,
            register_workers: 8,
            register_turns: 25,
            stall: Duration::from_secs(5),
            stall_head_start: Duration::from_millis(100),
            deadline: Duration::from_secs(90),
        }
    }
}

/// Puts `store` to the proof. `run` is fresh and random: it names the objects that the proof writes, and deletes again.
///
/// Never fails: whatever goes wrong is a [`Verdict`]. Before the first put the store's ETag dialect is found out and set.
pub async fn prove(store: Arc<dyn Provable>, run: Ulid, effort: &Effort) -> Verdict {
    prove_until(store, run, effort, &CancellationToken::new()).await
}

/// As [`prove`], and at `stop` it ends early: with the verdict that the store could not be asked, and within a few seconds, which the
/// clean-up takes at most.
pub async fn prove_until(store: Arc<dyn Provable>, run: Ulid, effort: &Effort, stop: &CancellationToken) -> Verdict {
    let bench = Arc::new(Bench::new(store, run, *effort));
    let guard = CleanUp(Some(Arc::clone(&bench)));
    match tokio::time::timeout(effort.deadline, stop.run_until_cancelled(Box::pin(steps(&bench)))).await {
        Ok(Some(_)) => {}
        Ok(None) => bench.overrun("the proof was stopped".to_owned()),
        Err(_) => bench.overrun(format!("the proof did not end within {} seconds", effort.deadline.as_secs())),
    }
    guard.run().await;
    bench.verdict()
}

/// How long the clean-up may take; shorter than any pod's time to end.
const CLEAN_UP_MAX: Duration = Duration::from_secs(5);

/// Whatever was found, and wherever the proof ended: nothing is left behind. Late puts of a store that is cut off may; they harm nobody.
struct CleanUp(Option<Arc<Bench>>);

impl CleanUp {
    async fn run(mut self) {
        if let Some(bench) = &self.0 {
            let _ = tokio::time::timeout(CLEAN_UP_MAX, bench.clean_up()).await;
        }
        self.0 = None;
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        // Still there: the proof was dropped in the middle. Nobody waits for this; it goes on as long as the process does.
        if let (Some(bench), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { tokio::time::timeout(CLEAN_UP_MAX, bench.clean_up()).await });
        }
    }
}

/// Runs the steps. `Err`: the bench knows what failed.
///
/// A broken promise does not end the proof, as long as the next step makes sense without it: an operator wants to know all that is wrong
/// with a store. A store that cannot be reached does.
async fn steps(bench: &Arc<Bench>) -> Result<(), Ended> {
    bench.step("reach", sequence::reach(bench)).await?;
    bench.connect().await?;
    let first = bench.step("create", sequence::create(bench)).await?;
    let state = bench.step("replace", sequence::replace(bench, first)).await?;
    bench.step("refused", sequence::refused(bench, &state)).await.or_broken()?;
    bench.step("not-modified", sequence::not_modified(bench, &state)).await.or_broken()?;
    bench.step("fresh", sequence::fresh(bench)).await.or_broken()?;
    if !bench.connection(0).is_shared() {
        return Ok(());
    }
    // The stalled puts mostly wait, so the others run beside them.
    let busy = async {
        bench.step("race", race::race(bench)).await.or_broken()?;
        bench.step("register", register::register(bench)).await.or_broken()
    };
    let (stalled, busy) = futures::join!(bench.step("stalled", stalled::stalled(bench)), busy);
    stalled.or_broken().and(busy)
}
