//! What the registry costs: publish on files and on S3 beside the store's own calls, index reads per second, memory, time to ready.
//!
//! `cargo dev bench` runs it on the very program that goes into the image. Everything is on loopback and ends by itself. What is
//! compared is measured in turns within one run, since absolute times of one machine say little about another.
//!
//! [`server`] is the program under test, [`publish`] and [`read`] are the work, [`figures`] turns times into lines.

#![allow(clippy::print_stdout, reason = "the report is the result")]

mod figures;
mod publish;
mod read;
mod server;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use supercargo_tests::s3_host::HostServer;

use figures::Times;
use server::{Program, Server, Storage};

/// Publishes that are timed, per store.
const PUBLISHES: usize = 300;
/// Starts that are timed.
const STARTS: usize = 20;

/// What the registry server costs on this machine
#[derive(Debug, Parser)]
struct Args {
    /// The program `supercargo-registry`, as it goes into the image
    #[arg(long)]
    registry: PathBuf,
    /// `cargo bench` says that this is a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let program = Program::new(Args::parse().registry).context("the program under test")?;
    println!("supercargo-registry: {:.1} MB", program.size()? as f64 / 1e6);
    starts(&program).await?;
    on_files(&program).await?;
    on_s3(&program).await
}

async fn starts(program: &Program) -> Result<()> {
    let mut times = Times::default();
    let mut idle = Vec::new();
    for _ in 0..STARTS {
        let server = program.start(Storage::File).await?;
        times.add(server.started_in());
        idle.push(server.resident_bytes()?);
        server.stop().await?;
    }
    idle.sort_unstable();
    println!("\nfile store");
    println!("  start to ready              {times}");
    println!("  resident, idle              {:.1} MB", idle[idle.len() / 2] as f64 / 1e6);
    Ok(())
}

async fn on_files(program: &Program) -> Result<()> {
    load(program.start(Storage::File).await?).await
}

async fn on_s3(program: &Program) -> Result<()> {
    let versitygw = HostServer::versitygw().await?;
    let server = program.start(Storage::S3(&versitygw)).await?;
    println!("\nS3 store (versitygw on loopback)");
    println!("  start to ready, with proof  {:.0} ms", server.started_in().as_secs_f64() * 1e3);
    load(server).await
}

async fn load(server: Server) -> Result<()> {
    let own = publish::Calls::open(&server).await?;
    let publish::Compared { publishes, calls } = publish::in_turns(&server, &own, PUBLISHES).await?;
    println!("  publish of a new crate      {publishes}");
    println!("  the store's own calls       {calls}   (publish is {:.2} x)", publishes.median() / calls.median());
    read::index(&server).await?;
    println!("  resident, after all this    {:.1} MB", server.resident_bytes()? as f64 / 1e6);
    server.stop().await
}
