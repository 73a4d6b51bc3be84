//! The commands of `supercargo-registry`.
//!
//! Exit status: 0 done; 1 failed; 2 wrong arguments or configuration; for `prove` also 3, the store does not keep its promises, and 4, it
//! cannot be reached; for `fsck` and `gc` also 3, something that is stored needs somebody to look at it.

mod config;
mod fsck;
mod gc;
mod krate;
mod progress;
mod prove;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::ambient::{Clock, Entropy};
use crate::config::{self as configuration, Config};
use crate::registry::{Registry, RegistryError, Storage, StorageError};
use crate::store::proof::Verdict;
use crate::{server, telemetry};

/// The status for wrong arguments, as clap has it.
const WRONG: u8 = 2;

/// A Cargo registry over object storage.
#[derive(Debug, Parser)]
#[command(name = "supercargo-registry", version = crate::build::line(), about, propagate_version = true)]
#[command(
    after_help = "With no configuration at all, `supercargo-registry serve` runs a private registry in ./supercargo-data on \
    http://127.0.0.1:8080 and prints a first token. `supercargo-registry config` lists every setting."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the registry until SIGTERM or Ctrl-C
    Serve(serve::Serve),
    /// Find out whether the store keeps its promises: exit status 0 yes, 3 no, 4 it cannot be reached
    Prove(prove::Prove),
    /// Make, list and revoke tokens directly in the store
    #[command(subcommand)]
    Token(token::Token),
    /// Check everything in the store: exit status 0 nothing is wrong (or all of it was mended), 3 something is
    Fsck(fsck::Fsck),
    /// Delete files that nothing names, in two runs at least an hour apart; says only what it would do unless told --dry-run=false
    Gc(gc::Gc),
    /// Delete and restore crates directly in the store
    #[command(subcommand, name = "crate")]
    Krate(krate::Crate),
    /// Print every configuration key with its environment variable, default and meaning
    Config(config::Keys),
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
struct Source {
    /// TOML file with the configuration; environment variables `SUPERCARGO_<SECTION>_<KEY>` win over it
    #[arg(long, value_name = "FILE", env = "SUPERCARGO_CONFIG")]
    config: Option<PathBuf>,
}

impl Source {
    /// Reads the configuration; the error is for the terminal.
    fn load(&self) -> Result<Config, String> {
        let text = match &self.config {
            Some(path) => Some(
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?,
            ),
            None => None,
        };
        // The variable that names the file is not a key of it.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name != "SUPERCARGO_CONFIG");
        let config = Config::from_sources(text.as_deref(), environment).map_err(|error| match &self.config {
            Some(path) => format!("the configuration is wrong (file {}):\n{error}", path.display()),
            None => format!("the configuration is wrong:\n{error}"),
        })?;
        telemetry::check(&config.log).map_err(|error| error.to_string())?;
        Ok(config)
    }
}

/// The registry in its store, without a server.
struct Opened {
    registry: Arc<Registry>,
    clock: Clock,
    entropy: Entropy,
    config: Config,
}

impl Source {
    /// Opens the registry of the configuration, to change it past its servers.
    async fn open(&self) -> Result<Opened, Failure> {
        self.open_in(async |storage| Storage::open(storage).await, Registry::open_now).await
    }

    /// The same to look at only: a server may hold the directory.
    async fn open_to_read(&self) -> Result<Opened, Failure> {
        self.open_in(async |storage| Storage::open_to_read(storage).await, Registry::open_to_read).await
    }

    async fn open_in(
        &self,
        open: impl AsyncFnOnce(&configuration::Storage) -> Result<Storage, StorageError>,
        make_ready: impl AsyncFnOnce(&Registry) -> Verdict,
    ) -> Result<Opened, Failure> {
        let config = self.load().map_err(Failure::wrong)?;
        telemetry::init(&config.log).map_err(Failure::new)?;
        let storage = open(&config.storage).await.map_err(Failure::wrong)?;
        let (clock, entropy) = ambient();
        // Servers that hold a record in memory are told, or outlasted.
        let replication = server::replication(&config, None).map_err(Failure::wrong)?;
        let registry = Registry::replicated(&storage, config.visibility, replication, clock.clone(), entropy.clone());
        let verdict = make_ready(&registry).await;
        if !verdict.is_proven() {
            return Err(Failure::new(format!("{}: {}", registry.location(), verdict.message)));
        }
        Ok(Opened { registry: Arc::new(registry), clock, entropy, config })
    }
}

/// Why a command ended: the text for the terminal and the exit status.
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    fn new(text: impl ToString) -> Self {
        Self { status: 1, text: text.to_string() }
    }

    /// A failure of the registry, with what the log would say of it.
    fn caused(error: RegistryError) -> Self {
        match error.cause() {
            Some(cause) => Self::new(format!("{error}: {cause}")),
            None => Self::new(error),
        }
    }

    fn wrong(text: impl ToString) -> Self {
        Self { status: WRONG, text: text.to_string() }
    }
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Config(keys) => {
                keys.run();
                Ok(())
            }
            Command::Serve(serve) => runtime().and_then(|runtime| runtime.block_on(Box::pin(serve.run()))),
            Command::Prove(prove) => runtime().and_then(|runtime| runtime.block_on(Box::pin(prove.run()))),
            Command::Fsck(fsck) => runtime().and_then(|runtime| runtime.block_on(Box::pin(fsck.run()))),
            Command::Gc(gc) => runtime().and_then(|runtime| runtime.block_on(Box::pin(gc.run()))),
            Command::Krate(krate) => runtime().and_then(|runtime| runtime.block_on(Box::pin(krate.run()))),
            Command::Token(token) => runtime().and_then(|runtime| runtime.block_on(Box::pin(token.run()))),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure { status, text }) => {
                complain(&text);
                ExitCode::from(status)
            }
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))
}

/// Prints for a person; a terminal that has gone away is no reason to fail.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}

/// The real clock and the system's randomness.
fn ambient() -> (Clock, Entropy) {
    (Clock::system(), Entropy::from_os())
}
