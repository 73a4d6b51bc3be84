//! `supercargo-registry prove`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Failure, Source, ambient, say};
use crate::registry::{Registry, Storage};
use crate::server::Signals;
use crate::store::proof::VerdictKind;
use crate::telemetry;

/// The status when the store does not keep its promises.
const REFUSED: u8 = 3;
/// The status when the store cannot be asked.
const UNREACHABLE: u8 = 4;

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub(super) struct Prove {
    #[command(flatten)]
    source: Source,
}

impl Prove {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.source.load().map_err(Failure::wrong)?;
        telemetry::init(&config.log).map_err(Failure::new)?;
        let storage = Storage::open(&config.storage).await.map_err(Failure::wrong)?;
        let (clock, entropy) = ambient();
        let registry = Registry::new(&storage, config.visibility, clock, entropy);
        let mut signals = Signals::install().map_err(Failure::new)?;
        let stop = CancellationToken::new();
        let proving = registry.examine(&stop);
        tokio::pin!(proving);
        let verdict = tokio::select! {
            verdict = &mut proving => verdict,
            _ = signals.next() => {
                // It deletes what it wrote, and ends.
                stop.cancel();
                proving.await
            }
        };
        for step in &verdict.steps {
            let detail = if step.detail.is_empty() { String::new() } else { format!("  {}", step.detail) };
            say(&format!("{:<14} {:<14} {:>6} ms{detail}", step.step, format!("{:?}", step.outcome), step.millis));
        }
        let status = match verdict.kind {
            VerdictKind::Proven => {
                say(&format!("{}: {}", registry.location(), verdict.message));
                return Ok(());
            }
            VerdictKind::Refused => REFUSED,
            VerdictKind::Proving | VerdictKind::Unreachable => UNREACHABLE,
        };
        let step = verdict.step.map(|step| format!(" (step {step})")).unwrap_or_default();
        Err(Failure { status, text: format!("{}{step}: {}", registry.location(), verdict.message) })
    }
}
