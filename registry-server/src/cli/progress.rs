//! How far a long command is, on standard error: a line that changes on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::maintenance::Progress;

/// Nothing is said before this.
const QUIET: Duration = Duration::from_secs(2);
/// How often a terminal shows something new.
const TICK: Duration = Duration::from_millis(200);
/// How often a log gets a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Runs a job and shows how far it is, if it takes long.
pub(super) async fn shown<T>(progress: &Progress, job: impl Future<Output = T>) -> T {
    let watch = async {
        tokio::time::sleep(QUIET).await;
        if std::io::stderr().is_terminal() { spin(progress).await } else { log(progress).await }
    };
    tokio::select! {
        biased;
        result = job => result,
        never = watch => match never {},
    }
}

async fn spin(progress: &Progress) -> std::convert::Infallible {
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    // Cleared when the job is done and this is dropped.
    let _cleared = Cleared(&bar);
    loop {
        bar.set_message(progress.line());
        bar.tick();
        tokio::time::sleep(TICK).await;
    }
}

struct Cleared<'a>(&'a ProgressBar);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

async fn log(progress: &Progress) -> std::convert::Infallible {
    use std::io::Write;
    loop {
        let _ = writeln!(std::io::stderr().lock(), "{}", progress.line());
        tokio::time::sleep(LINE_EVERY).await;
    }
}
