//! `cargo dev`: everything is in the library; see `supercargo_dev::cli`.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    supercargo_dev::cli::main().await
}
