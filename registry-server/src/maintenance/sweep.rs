//! Clears the marks that dead writers left, so that what they were about to change can be kept in memory again.
//!
//! Every server looks at the marks that its own readers came across. Several may want to clear the same one: the store lets one of
//! them, and the others find it done. Each waits a random while, so that this is seldom.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use crate::ambient::Entropy;
use crate::registry::Registry;

/// When to look, and at what.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The pause between two looks, on average.
    pub look_every: Duration,
    /// A mark that has stood for this long is a dead writer's.
    pub dead_after: Duration,
}

impl Pace {
    /// For servers with leases of this length. A writer that lives has put its mark, waits for the head at worst for as long as a store call
    /// may take, and then for the leases of silent replicas; clearing a living one's mark costs it another attempt and no more.
    pub fn for_lease(lease: Duration) -> Self {
        Self { look_every: Duration::from_secs(5), dead_after: Duration::from_secs(15) + 2 * lease }
    }
}

/// Sweeps until `stop`.
pub async fn keep_swept(registry: Arc<Registry>, pace: Pace, entropy: Entropy, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            let share: f64 = entropy.with(|rng| rng.random());
            registry.time().sleep(pace.look_every.mul_f64(0.5 + share)).await;
            sweep(&registry, pace.dead_after).await;
        }
    })
    .await;
}

/// Clears every mark that was first seen this long ago and still stands.
async fn sweep(registry: &Registry, dead_after: Duration) {
    for (key, mark) in registry.marked_for(dead_after) {
        match registry.clear_mark(&key, &mark).await {
            Ok(true) => tracing::info!(%key, "cleared the mark of a writer that died"),
            Ok(false) => {}
            // Its readers are served as before; the next look tries again.
            Err(error) => {
                let cause = error.cause().unwrap_or_default();
                tracing::warn!(%key, %error, cause, "the mark of a dead writer could not be cleared");
            }
        }
    }
}
