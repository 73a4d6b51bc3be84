//! Whether the store is fit: proven to keep its promises where that is not certain, and holding a registry of a format that this
//! program knows.
//!
//! A server listens at once and answers 503 until then. A store that cannot be reached is tried again and again; one that was
//! refused is tried again every minute, so that a mended bucket policy or proxy heals by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Registry, RegistryError};
use crate::metrics;
use crate::store::proof::{self, Effort, Verdict, VerdictKind};

/// The pause after an attempt at a store that cannot be reached: doubling between these.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// The pause after a store was refused.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// The step of a verdict that is about the content of the store, after the proof of its behaviour.
const STEP_FORMAT: &str = "format";

impl Registry {
    /// What is known of the store now.
    pub fn readiness(&self) -> Verdict {
        self.readiness.borrow().clone()
    }

    /// Waits for a verdict that satisfies `wanted`; for whoever starts servers in tests.
    pub async fn wait_for(&self, wanted: impl FnMut(&Verdict) -> bool) -> Verdict {
        let mut receiver = self.readiness.subscribe();
        let found = receiver.wait_for(wanted).await.map(|found| found.clone());
        found.unwrap_or_else(|_| self.readiness())
    }

    /// Every request passes here before it touches the store.
    pub(super) fn check_ready(&self) -> Result<(), RegistryError> {
        let text = match self.readiness.borrow().kind {
            VerdictKind::Proven => return Ok(()),
            VerdictKind::Proving => "it is still checking its storage; repeat the command in a few seconds",
            VerdictKind::Refused => {
                "its storage was refused; those who run it find the reason in its log and at /readyz"
            }
            VerdictKind::Unreachable => {
                "it cannot reach its storage; those who run it find the reason in its log and at /readyz"
            }
        };
        Err(RegistryError::NotReady(text.into()))
    }

    fn set_readiness(&self, verdict: Verdict) {
        metrics::store_proven(verdict.is_proven());
        self.readiness.send_if_modified(|current| {
            let changed =
                (current.kind, current.step, &current.message) != (verdict.kind, verdict.step, &verdict.message);
            if changed {
                let (store, step, message) = (self.location(), verdict.step, &verdict.message);
                match verdict.kind {
                    VerdictKind::Proving => {}
                    VerdictKind::Proven => tracing::info!(store, "the store is fit: ready"),
                    kind => tracing::error!(store, verdict = ?kind, step, message, "the store is not fit: not ready"),
                }
            }
            *current = verdict;
            changed
        });
    }

    /// Makes a registry ready whose store needs no proof: only the format is checked. Does nothing for the others.
    ///
    /// # Errors
    /// The store cannot be read or holds another format.
    pub async fn open(&self) -> Result<(), RegistryError> {
        if self.provable.is_none() {
            self.check_format().await?;
            self.set_readiness(proven(Verdict::proving()));
        }
        Ok(())
    }

    /// Makes a registry ready without a proof of the store, which a server makes; for the commands that work on the store directly. Their
    /// writes are conditional like all others.
    pub async fn open_now(&self) -> Verdict {
        let verdict = judge_format(proven(Verdict::proving()), self.check_format().await);
        self.set_readiness(verdict.clone());
        verdict
    }

    /// The same for a store that nothing is written to: it has to hold a registry already.
    pub async fn open_to_read(&self) -> Verdict {
        let none = || RegistryError::Broken {
            what: "the registry".into(),
            reason: "there is no registry here: v1/meta/format is missing".into(),
        };
        let format = self.read_format().await.and_then(|id| id.map(drop).ok_or_else(none));
        let verdict = judge_format(proven(Verdict::proving()), format);
        self.set_readiness(verdict.clone());
        verdict
    }

    /// Finds out once whether the store is fit. Leaves nothing in it: a store without a format is fit too. At `stop` it ends early, and cleans
    /// up.
    pub async fn examine(&self, stop: &CancellationToken) -> Verdict {
        let verdict = self.prove(stop).await;
        if verdict.is_proven() { judge_format(verdict, self.read_format().await.map(drop)) } else { verdict }
    }

    /// Finds out whether the store keeps its promises, if that is not certain.
    async fn prove(&self, stop: &CancellationToken) -> Verdict {
        match &self.provable {
            Some(store) => proof::prove_until(store.clone(), self.new_ulid(), &Effort::default(), stop).await,
            None => proven(Verdict::proving()),
        }
    }

    /// Proves the store until it is proven; ends then, or at `stop`.
    pub async fn keep_proven(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = RETRY_FIRST;
        while !self.readiness().is_proven() {
            let mut verdict = self.prove(&stop).await;
            if stop.is_cancelled() {
                return;
            }
            if verdict.is_proven() {
                verdict = judge_format(verdict, self.check_format().await);
            }
            let wait = match verdict.kind {
                VerdictKind::Refused => REFUSED_AGAIN,
                _ => pause,
            };
            pause = RETRY_MAX.min(pause * 2);
            self.set_readiness(verdict);
            if self.readiness().is_proven() || stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }
}

/// The verdict on a store that behaves, after a look at what it holds.
fn judge_format(verdict: Verdict, format: Result<(), RegistryError>) -> Verdict {
    let Err(error) = format else { return verdict };
    let kind = match &error {
        RegistryError::Broken { .. } => VerdictKind::Refused,
        _ => VerdictKind::Unreachable,
    };
    let message = error.cause().unwrap_or_else(|| error.to_string());
    Verdict { kind, step: Some(STEP_FORMAT), message, steps: verdict.steps }
}

fn proven(verdict: Verdict) -> Verdict {
    Verdict { kind: VerdictKind::Proven, step: None, message: "the store is fit".to_owned(), ..verdict }
}
