//! `supercargo-registry fsck`: checks the whole store. Without `--repair` it writes nothing but a probe object to S3, and nothing at all to a
//! directory, which a server may hold meanwhile.

use clap::Args;

use super::{Failure, Opened, Source, progress, say};
use crate::config::Backend;
use crate::maintenance::Progress;
use crate::maintenance::fsck::{self, Options, Problem, Report};

/// The status when something is wrong with what is stored.
const PROBLEMS: u8 = 3;

/// Arguments of `fsck`.
#[derive(Debug, Args)]
pub(super) struct Fsck {
    #[command(flatten)]
    source: Source,
    /// Read every stored file and compare its SHA-256; takes as long as downloading everything
    #[arg(long)]
    deep: bool,
    /// Clear the marks of dead writers, write missing entries of the audit log, and put damaged or deleted objects back from the history of a bucket with
    /// versioning; safe while servers run. A directory has to be free
    #[arg(long)]
    repair: bool,
    /// With --repair: put a record back, too, if changes that came after that version are lost then, or may be; without it they are only named
    #[arg(long, requires = "repair")]
    accept_loss: bool,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
}

impl Fsck {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { source, deep, repair, accept_loss, json } = self;
        let opened = if repair {
            source.open().await.map_err(|Failure { status, text }| {
                let text = format!(
                    "{text}\n(without --repair nothing is written, and a directory can be checked beside its server)"
                );
                Failure { status, text }
            })
        } else {
            source.open_to_read().await
        };
        let Opened { registry, clock, config, .. } = opened?;
        // A directory's files are dated by this very machine.
        let now = (!repair && !matches!(config.storage.backend, Backend::S3(_))).then(|| clock.now());
        let progress = Progress::default();
        let job = fsck::run(&registry, Options { deep, repair, accept_loss, now }, &progress);
        let report = progress::shown(&progress, job).await.map_err(Failure::caused)?;
        registry.finish_writes().await;
        if json {
            say(&serde_json::to_string(&report).expect("texts and numbers always serialize"));
        } else {
            print(&report);
        }
        match report.left() {
            0 => Ok(()),
            1 => Err(Failure { status: PROBLEMS, text: "1 problem".into() }),
            left => Err(Failure { status: PROBLEMS, text: format!("{left} problems") }),
        }
    }
}

/// What is wrong, what a repair made of it, and what is left to do.
fn lines(problem: &Problem) -> String {
    let Problem { code, key, what, remedy, repaired, repair } = problem;
    let remedy = (!repaired).then_some(remedy);
    let rest = repair.iter().chain(remedy).map(|line| format!("\n    {line}"));
    format!("{}  {key}\n    {what}{}", code.word(), rest.collect::<String>())
}

fn print(report: &Report) {
    for problem in &report.problems {
        say(&lines(problem));
    }
    for key in &report.foreign {
        say(&format!("not ours, left alone: {key}"));
    }
    let counts = &report.counts;
    say(&format!(
        "{}: {} crates ({} deleted), {} versions, {} files of {} bytes, {} tokens, {} audit entries, {} names reserved, {} keys that are not ours",
        report.store,
        counts.crates,
        counts.deleted_crates,
        counts.versions,
        counts.files,
        counts.file_bytes,
        counts.tokens,
        counts.audit_entries,
        counts.reserved_names,
        counts.foreign,
    ));
    if report.deep {
        say(&format!("{} bytes compared with their checksums", counts.bytes_compared));
    }
    if report.problems.is_empty() {
        say("no problems");
    } else {
        say(&format!("{} problems, {} of them mended", report.problems.len(), report.problems.len() - report.left()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::fsck::Code;

    #[test]
    fn what_is_left_to_do_is_said_unless_it_is_mended() {
        let problem = |repaired, repair: Option<&str>| Problem {
            code: Code::FileMissing,
            key: "v1/x".to_owned(),
            what: "gone".to_owned(),
            remedy: "restore a backup".to_owned(),
            repaired,
            repair: repair.map(str::to_owned),
        };
        assert_eq!(lines(&problem(false, None)), "file-missing  v1/x\n    gone\n    restore a backup");
        assert_eq!(lines(&problem(true, Some("put back"))), "file-missing  v1/x\n    gone\n    put back");
        let failed = lines(&problem(false, Some("no earlier version")));
        assert_eq!(failed, "file-missing  v1/x\n    gone\n    no earlier version\n    restore a backup");
    }
}
