//! The binary `supercargo-registry`: arguments, configuration, exit status. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    supercargo_registry::cli::Cli::parse().run()
}
