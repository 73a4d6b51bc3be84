//! What the registry costs, beside nginx with the same files, Kellnr and Ktra with the same crates, and the store's own calls.
//!
//! `cargo dev bench` runs it on the very program that goes into the image. Everything is on loopback and ends by itself. What is
//! compared is measured in turns within one run, since absolute times of one machine say little about another.
//!
//! - [`data`]: the crates; [`field`]: everybody who is measured, with these crates: [`server`] (ours), [`nginx`], [`kellnr`], [`ktra`].
//! - [`load`]: one kind of request as often as it is answered; [`client`]: single requests.
//! - [`work`]: what is measured, by kind; [`report`]: figures, targets, RESULTS.md; [`chart`]: the picture in it.

#![allow(clippy::print_stdout, reason = "the report is the result")]

mod chart;
mod client;
mod data;
mod field;
mod figures;
mod kellnr;
mod ktra;
mod load;
mod nginx;
mod process;
mod report;
mod server;
mod tls;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::process::Command;

use field::Field;
use report::Report;
use server::Program;

/// What the registry server costs on this machine
#[derive(Debug, Parser)]
struct Args {
    /// The program `supercargo-registry`, as it goes into the image
    #[arg(long)]
    registry: PathBuf,
    /// The program `kellnr`, to be measured beside it
    #[arg(long)]
    kellnr: Option<PathBuf>,
    /// The program `ktra`, to be measured beside it
    #[arg(long)]
    ktra: Option<PathBuf>,
    /// How long each server is put under each kind of load, each time, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// The folder for RESULTS.md and results.svg
    #[arg(long)]
    results: Option<PathBuf>,
    /// `cargo bench` says that this is a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let program = Program::new(args.registry).context("the program under test")?;
    let mut report = Report::default();
    work::memory::starts(&program, &mut report).await?;
    let field = Field::start(&program, args.kellnr.as_ref(), args.ktra.as_ref()).await?;
    work::memory::cached(&field, &mut report).await?;
    work::index::run(&field, &mut report, args.seconds).await?;
    work::downloads::run(&field, &mut report, args.seconds).await?;
    work::search::run(&field, &mut report, args.seconds).await?;
    work::fetch::run(&field, &mut report).await?;
    work::memory::after_load(&field, &mut report)?;
    work::publish::run(&field, &mut report).await?;
    field.stop().await?;
    work::s3::run(&program, &mut report, args.seconds).await?;
    let (met, all) = report.met();
    println!("\n{met} of {all} aims met");
    if let Some(folder) = args.results {
        let head = head(&program, args.seconds, [args.kellnr.as_deref(), args.ktra.as_deref()]).await?;
        std::fs::write(folder.join("RESULTS.md"), report.markdown(&head)).context("writing RESULTS.md")?;
        std::fs::write(folder.join("results.svg"), report.chart()).context("writing results.svg")?;
    }
    Ok(())
}

/// On what and how it was measured.
async fn head(program: &Program, seconds: u32, peers: [Option<&Path>; 2]) -> Result<String> {
    let nginx = Command::new("nginx").arg("-v").output().await.context("asking nginx for its version")?;
    let nginx = String::from_utf8_lossy(&nginx.stderr);
    let mut others = vec![nginx.trim().trim_start_matches("nginx version: ").replace('/', " ")];
    for peer in peers.into_iter().flatten() {
        others.push(installed(peer).with_context(|| format!("the version of {}", peer.display()))?);
    }
    let (cores, megabytes) = (std::thread::available_parallelism()?, program.size()? as f64 / 1e6);
    Ok(format!(
        "Beside it: {}. {cores} cores, on which the load was made too; {} connections, {} rounds of {seconds} s each; memory and starts of S3 \
         are single figures. The program has {megabytes:.1} MB.",
        others.join(", "),
        load::CONNECTIONS,
        load::ROUNDS,
    ))
}

/// Name and version of a program that `cargo install` put into a folder `bin`; it keeps a list beside that.
fn installed(program: &Path) -> Result<String> {
    let folder = program.parent().and_then(Path::parent).context("it is in no folder")?;
    let list = std::fs::read_to_string(folder.join(".crates.toml"))?;
    let name = program.file_name().and_then(|name| name.to_str()).context("its name")?;
    let line = list.lines().find_map(|line| line.strip_prefix(&format!("\"{name} "))).context("it is not listed")?;
    let version = line.split(' ').next().context("no version")?;
    Ok(format!("{name} {version}"))
}
