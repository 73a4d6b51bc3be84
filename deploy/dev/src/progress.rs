//! What a person sees while something takes time.
//!
//! A [`Step`] is one line: a spinner with elapsed seconds and the latest detail on a terminal, plain lines elsewhere (CI, a
//! pipe), where nothing is said before two seconds have passed and a sign of life follows every fifteen. Everything goes to
//! standard error, so that standard output carries results alone. This file and [`say`] are the only places that print.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Silence allowed before a plain-text step says that it has begun.
const QUIET_AT_FIRST: Duration = Duration::from_secs(2);
/// Time between two signs of life of a plain-text step.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Prints one line of result to standard output. Output that nobody reads (a closed pipe) is not an error.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints one line for the person at the keyboard to standard error.
pub fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// One thing that is being done. Ends with [`Step::done`]; dropped without it, the line shows that it failed.
#[derive(Debug)]
pub struct Step {
    title: String,
    started: Instant,
    display: Face,
    ended: bool,
}

#[derive(Debug)]
enum Face {
    Terminal(ProgressBar),
    Plain { latest: Arc<Mutex<String>>, stop: Option<Sender<()>>, reporter: Option<JoinHandle<()>> },
}

impl Step {
    /// Begins a step. `title` says what is done, in the user's words: "Image supercargo/registry:0.1.0".
    pub fn start(title: impl Into<String>) -> Self {
        Self::long(title, "")
    }

    /// Begins a step that may take minutes. `hint` says how long and why ("first time only: about 5 minutes"); it is shown while
    /// the step is at it and not when it is done.
    pub fn long(title: impl Into<String>, hint: &str) -> Self {
        let title = title.into();
        let running = if hint.is_empty() { title.clone() } else { format!("{title} ({hint})") };
        let display = if std::io::stderr().is_terminal() { terminal(running) } else { plain(running) };
        Self { title, started: Instant::now(), display, ended: false }
    }

    /// The latest detail, for instance the last line of a build. Only the newest one is kept.
    pub fn note(&self, detail: &str) {
        let detail = detail.trim();
        if detail.is_empty() {
            return;
        }
        match &self.display {
            Face::Terminal(bar) => bar.set_message(detail.to_owned()),
            Face::Plain { latest, .. } => {
                if let Ok(mut latest) = latest.lock() {
                    detail.clone_into(&mut latest);
                }
            }
        }
    }

    /// How long this step has been at it.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the step well. `detail` is what one may want to know of the result, or empty.
    pub fn done(mut self, detail: impl Display) {
        let detail = detail.to_string();
        let separator = if detail.is_empty() { "" } else { ": " };
        self.end("✓", &format!("{separator}{detail}"));
    }

    /// Ends the step when there was nothing to do. Nothing is printed: a second run is quiet.
    pub fn unneeded(mut self) {
        self.ended = true;
        self.clear();
    }

    fn end(&mut self, mark: &str, detail: &str) {
        self.ended = true;
        self.clear();
        tell(format_args!("{mark} {}{detail} ({})", self.title, seconds(self.started.elapsed())));
    }

    fn clear(&mut self) {
        match &mut self.display {
            Face::Terminal(bar) => bar.finish_and_clear(),
            Face::Plain { stop, reporter, .. } => {
                drop(stop.take());
                if let Some(reporter) = reporter.take() {
                    let _ = reporter.join();
                }
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end("✗", "");
        }
    }
}

/// `0.4 s`, `12 s`, `3 min 20 s`.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        whole @ 10..120 => format!("{whole} s"),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// `812 B`, `16.1 MB`: decimal units, as `docker images` and `ctr images ls` print them nearly.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{size} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn terminal(title: String) -> Face {
    let bar = ProgressBar::new_spinner().with_prefix(title);
    let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
        .expect("the template is a constant that indicatif knows");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    Face::Terminal(bar)
}

fn plain(title: String) -> Face {
    let latest = Arc::new(Mutex::new(String::new()));
    let (stop, stopped) = channel::<()>();
    let shared = Arc::clone(&latest);
    let reporter = std::thread::spawn(move || {
        let started = Instant::now();
        let mut pause = QUIET_AT_FIRST;
        // The sender is never used: dropping it ends the wait at once.
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            if pause == QUIET_AT_FIRST {
                tell(format_args!("… {title}"));
            } else {
                let detail = shared.lock().map(|latest| latest.clone()).unwrap_or_default();
                tell(format_args!("… {title}: {}  {detail}", seconds(started.elapsed())));
            }
            pause = SIGN_OF_LIFE;
        }
    });
    Face::Plain { latest, stop: Some(stop), reporter: Some(reporter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(seconds(Duration::from_millis(430)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(75)), "75 s");
        assert_eq!(seconds(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(16_100_000), "16.1 MB");
    }
}
