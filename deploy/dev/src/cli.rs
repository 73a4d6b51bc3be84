//! The commands of `cargo dev`.
//!
//! # How a command is added
//! Write a module with `pub(crate) struct Args` (derives [`clap::Args`]; its doc comment is the command's help) and
//! `pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode>`. Then add one line to `commands!` below, in the order in
//! which a newcomer would want to read them. Modules outside `cli/` are named by a `use` above the list.

mod bench;
mod down;
mod images;
mod logs;
mod node;
mod soak;
mod status;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{crds, demo, progress, test};

macro_rules! commands {
    ($($name:ident => $module:ident,)+) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($name($module::Args),)+
        }

        impl Command {
            async fn run(self) -> Result<ExitCode> {
                match self {
                    $(Self::$name(args) => $module::run(args).await,)+
                }
            }
        }
    };
}

commands! {
    Demo => demo,
    Up => up,
    Status => status,
    Logs => logs,
    Node => node,
    Images => images,
    Down => down,
    Test => test,
    Bench => bench,
    Soak => soak,
    Crds => crds,
}

/// Cluster, images, demo and tests of Supercargo.
///
/// State of the cluster: /var/lib/supercargo-dev. Built tools and images: ~/.cache/supercargo. See deploy/dev/README.md.
#[derive(Debug, Parser)]
#[command(
    name = "cargo dev",
    bin_name = "cargo dev",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Runs what the arguments ask for. Errors go to standard error with their causes; an interrupt leaves what is half done for
/// the next `up` or `down`, both of which know how to go on from there.
pub async fn main() -> ExitCode {
    let command = Cli::parse().command;
    let result = tokio::select! {
        result = command.run() => result,
        _ = tokio::signal::ctrl_c() => {
            progress::tell("\ninterrupted");
            return ExitCode::from(130);
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            progress::tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
