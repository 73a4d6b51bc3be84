//! What a replica does by itself: join, poll while there is traffic, remove evicted members when their time is over, leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Replica;
use super::head_writes::Edit;

/// How many polls there are per lease, so that one may fail.
const POLLS_PER_LEASE: u32 = 4;

impl<V: Clone + Send + Sync + 'static> Replica<V> {
    /// Runs until `stop`. A process that is alone over its store has nothing to do.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        if !self.ground.alone {
            stop.run_until_cancelled(self.keep_going()).await;
        }
    }

    async fn keep_going(self: &Arc<Self>) {
        let poll_every = self.settings.lease / POLLS_PER_LEASE;
        let mut next_poll = self.ground.time.now();
        // After a failed write of the head nothing is tried before this.
        let mut not_before = Duration::ZERO;
        let mut heads = self.heads.subscribe();
        loop {
            let now = self.ground.time.now();
            let (join_at, removal) = {
                let memory = self.memory();
                (memory.lease().join_at(), memory.lease().next_removal())
            };
            let edit = match (join_at, removal.clone()) {
                (Some(at), _) if at.max(not_before) <= now => Some(Edit::Join),
                (_, Some((epoch, at))) if at.max(not_before) <= now => Some(Edit::Remove(epoch)),
                _ => None,
            };
            if let Some(edit) = edit {
                let joining = matches!(edit, Edit::Join);
                match self.edit_head(edit).await {
                    Ok(_) if joining => tracing::info!(address = self.settings.address, "this replica is a member"),
                    Ok(_) => tracing::info!("a silent replica was removed"),
                    Err(error) => {
                        tracing::warn!(%error, "the head cannot be replaced; memory is served after asking it each time");
                        not_before = self.ground.time.now() + self.settings.lease;
                    }
                }
                continue;
            }
            let busy = self.busy.load(Ordering::Relaxed);
            if busy && next_poll <= now {
                self.busy.store(false, Ordering::Relaxed);
                // A failed poll renews nothing; whoever needs to know asks again.
                if let Err(error) = self.prove().await {
                    tracing::debug!(%error, "the head could not be read");
                }
                next_poll = now + poll_every;
                continue;
            }
            let (join, remove) = (join_at.map(|at| at.max(not_before)), removal.map(|(_, at)| at.max(not_before)));
            let poll = busy.then_some(next_poll);
            self.rest([poll, join, remove].into_iter().flatten().min(), &mut heads).await;
        }
    }

    /// Ends at `until`, or when traffic begins or a head is seen: either may bring something to do.
    async fn rest(&self, until: Option<Duration>, heads: &mut broadcast::Receiver<()>) {
        let timer = async {
            match until {
                Some(until) => self.ground.time.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = timer => {}
            () = self.woken.notified() => {}
            _ = heads.recv() => {}
        }
    }

    /// Leaves for good: nothing is served from memory under a lease from now on, and nobody waits for this replica any more.
    pub async fn leave(&self) {
        let epochs = self.memory().lease_mut().leave();
        if !epochs.is_empty()
            && let Err(error) = self.edit_head(Edit::Leave(epochs)).await
        {
            tracing::warn!(%error, "could not leave the head; the next change waits for a lease");
        }
        self.memory().lease_mut().left();
    }
}
