//! The signals that end a server. A handler is installed for each, because the kernel ignores signals without one for
//! process 1, which is what the server is in a container.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Stop;

/// The handlers; installed when made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal, and says how to stop: SIGTERM comes from Kubernetes or systemd, SIGINT from a person who
    /// waits at a terminal.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Settle,
            _ = self.interrupt.recv() => Stop::Now,
        }
    }
}
