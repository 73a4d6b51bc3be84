//! The program `supercargo-operator`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use supercargo_operator::check::Check;
use supercargo_operator::config::{Cli, Command, Config, Crds};
use supercargo_operator::{crd, runtime, telemetry};

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(config) => run(*config).map(|()| ExitCode::SUCCESS),
        Command::Crds(options) => crds(&options).map(|()| ExitCode::SUCCESS),
        Command::Check(options) => check(&options),
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    telemetry::logs(config.log_format, &config.log_filter)?;
    choose_tls_provider()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(runtime::run(config, jiff::Timestamp::now, |bytes| rand::fill(bytes)));
    // What did not end within the drain time is cut off; every pass is safe to cut.
    runtime.shutdown_background();
    outcome
}

/// One provider for kube, the AWS SDK and the admin API; whoever comes first would otherwise choose for all.
fn choose_tls_provider() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))
}

fn check(options: &Check) -> anyhow::Result<ExitCode> {
    choose_tls_provider()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let findings = runtime.block_on(async {
        let client =
            kube::Client::try_default().await.context("cannot find the API server: no kubeconfig, and not in a pod")?;
        supercargo_operator::check::check(&client, options).await
    })?;
    let mut out = std::io::stdout();
    for (well, text) in &findings {
        writeln!(out, "{} {text}", if *well { "ok  " } else { "FAIL" })?;
    }
    Ok(if findings.iter().all(|(well, _)| *well) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn crds(options: &Crds) -> anyhow::Result<()> {
    for (file, yaml) in crd::yaml().context("cannot write the CRDs as YAML")? {
        match &options.output_dir {
            Some(directory) => {
                let path = directory.join(file);
                std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => write!(std::io::stdout(), "---\n{yaml}")?,
        }
    }
    Ok(())
}
