//! Many seeds, on all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::check::Report;
use crate::world::{Setting, run};

/// Seeds whose schedules once showed a violation: of this code, or of a mutant that few schedules show.
pub(crate) const KEPT: [u64; 1] = [245];

/// Runs seeds until one has been run of each, or `done` says `false`; `done` is told of them as they end.
pub(crate) fn over(
    seeds: Range<u64>,
    setting: impl Fn(u64) -> Setting + Sync,
    done: impl FnMut(u64, &Report) -> bool + Send,
) {
    let (next, stopped, done) = (AtomicU64::new(seeds.start), AtomicBool::new(false), Mutex::new(done));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) || stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run(seed, setting(seed));
                    let mut done = done.lock().unwrap();
                    if !stopped.load(Ordering::Relaxed) && !done(seed, &report) {
                        stopped.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}
