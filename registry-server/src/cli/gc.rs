//! `supercargo-registry gc`: deletes what died publishes left, in two runs.

use clap::{ArgAction, Args};

use super::{Failure, Opened, Source, progress, say};
use crate::maintenance::Progress;
use crate::maintenance::gc::{self, Deleted, Grace, Report};

/// The status when a crate had to be left alone because something is wrong with it.
const SKIPPED: u8 = 3;

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub(super) struct Gc {
    #[command(flatten)]
    source: Source,
    /// Say what would be done, and change nothing
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    dry_run: bool,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { source, dry_run, json } = self;
        let Opened { registry, .. } = source.open().await?;
        let progress = Progress::default();
        let job = gc::run(&registry, Grace::default(), dry_run, &progress);
        let report = progress::shown(&progress, job).await.map_err(Failure::caused)?;
        if json {
            say(&serde_json::to_string(&report).expect("texts and numbers always serialize"));
        } else {
            print(&report);
        }
        match report.skipped.iter().filter(|skipped| skipped.needs_help).count() {
            0 => Ok(()),
            count => {
                let text =
                    format!("{count} crates were left alone because their records cannot be read; `fsck` says more");
                Err(Failure { status: SKIPPED, text })
            }
        }
    }
}

fn print(report: &Report) {
    let (deleted, planned) =
        if report.dry_run { ("would delete", "would plan") } else { ("deleted", "planned for a later run") };
    for Deleted { key, bytes, .. } in &report.deleted {
        say(&format!("{deleted}  {key}  {bytes} bytes"));
    }
    for Deleted { key, bytes, modified } in &report.planned {
        say(&format!("{planned}  {key}  {bytes} bytes, there since {modified:.0}"));
    }
    for skipped in &report.skipped {
        say(&format!("left alone  {}: {}", skipped.krate, skipped.why));
    }
    say(&format!(
        "{}: {deleted} {}, {planned} {}, {} plans wait for their hour",
        report.store,
        report.deleted.len(),
        report.planned.len(),
        report.plans_waiting
    ));
    if report.dry_run {
        say("nothing was changed; `--dry-run=false` does it");
    }
}
