//! Blocking calls on the disk: so many at once, and none that anybody waits for without end. One that does not come back keeps its thread and its turn; who waited goes on
//! without it.
//!
//! What must never exist here: names, files, a decision what follows from a call that failed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

/// Calls at once: a small part of the threads that tokio has for all such calls (512), so that a disk that hangs takes them from nobody.
pub(super) const TURNS: u32 = 64;
/// How long one may take, with the wait for its turn. Cargo gives up after 30 seconds without a byte.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The turns.
#[derive(Debug, Clone)]
pub(super) struct Calls(Arc<Semaphore>);

impl Calls {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TURNS as usize)))
    }

    /// Whether a call would begin now.
    pub(super) fn is_free(&self) -> bool {
        self.0.available_permits() > 0
    }

    /// The turns, for who makes the calls itself.
    pub(super) fn turns(&self) -> &Arc<Semaphore> {
        &self.0
    }

    /// Does something on a thread that may block. It is done, sooner or later, also if nobody waits for it any more.
    ///
    /// # Errors
    /// What `work` says; `TimedOut` when the disk did not answer in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (turns, (done, answer)) = (self.0.clone(), oneshot::channel());
        tokio::spawn(async move {
            let Ok(turn) = turns.acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                // What nobody waits for any more is dropped here: to drop a file on its way is to delete it.
                drop(done.send(work()));
                drop(turn);
            });
        });
        let answer = async { answer.await.unwrap_or_else(|_| Err(io::Error::other("the call ended in a panic"))) };
        in_time(answer).await
    }
}

/// Waits for a call, but not longer than one may take.
///
/// # Errors
/// As the call's; `TimedOut`.
pub(super) async fn in_time<T>(call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| {
        let message = format!("it did not answer in {} s and is left alone for a while", PATIENCE.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
