//! `supercargo-registry serve`.

use clap::Args;
use tracing::Level;

use super::{Failure, Source, ambient, say, token};
use crate::access::{Grant, NewToken, Verb, Visibility};
use crate::ambient::Entropy;
use crate::config::{Backend, BaseUrl, Config};
use crate::krate::Owner;
use crate::registry::{Registry, Storage};
use crate::server::{self, Running, Signals};
use crate::{build, telemetry};

/// The user behind the first token of a registry without an operator.
const FIRST_USER: &str = "admin";

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    source: Source,
    /// Check the configuration and all files that it names (certificates, credentials, the CA bundle), and stop; nothing is listened on and
    /// no store is opened
    #[arg(long)]
    check_config: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.source.load().map_err(Failure::wrong)?;
        if self.check_config {
            server::check(&config).map_err(Failure::wrong)?;
            Storage::check(&config.storage).map_err(Failure::wrong)?;
            say("the configuration is valid");
            return Ok(());
        }
        telemetry::init(&config.log).map_err(Failure::new)?;
        // Before anything else can be interrupted.
        let mut signals = Signals::install().map_err(Failure::new)?;
        tracing::info!(version = build::VERSION, commit = build::COMMIT, "supercargo-registry");
        let storage = Storage::open(&config.storage).await.map_err(Failure::new)?;
        let (clock, entropy) = ambient();
        let running = server::start(&config, &storage, clock, entropy.clone()).await.map_err(Failure::new)?;
        tracing::info!(public = %running.public, internal = %running.internal, store = running.registry.location(), "listening");
        if !matches!(config.storage.backend, Backend::S3(_)) {
            welcome(&config, &running, &entropy).await?;
        }
        let how = signals.next().await;
        running.shutdown(how);
        tokio::select! {
            complete = running.wait() => {
                if complete { Ok(()) } else { Err(Failure::new("stopped before everything under way was finished")) }
            }
            // Who asks twice means it.
            _ = signals.next() => Err(Failure::new("stopped at once by a second signal")),
        }
    }
}

/// What a person at a terminal needs next: the address, Cargo's configuration, and the first token, once.
async fn welcome(config: &Config, running: &Running, entropy: &Entropy) -> Result<(), Failure> {
    let base = base(config, running)?;
    say(&format!("Cargo registry at {base}, kept in {}\n", running.registry.location()));
    say("Put this into ~/.cargo/config.toml (the name `company` is yours to choose):\n");
    say(&format!("    [registries.company]\n    index = \"{}\"\n", base.index()));
    if running.registry.visibility() == Visibility::Private {
        say("    [registry]\n    global-credential-providers = [\"cargo:token\"]\n");
    }
    if let Some(secret) = first_token(config, &running.registry, entropy).await? {
        say(&format!(
            "The first token, for `cargo login --registry company`. It is shown this once:\n\n    {}\n",
            secret.expose()
        ));
    }
    say(&format!("How to go on: {base}/me    Stop: Ctrl-C"));
    Ok(())
}

fn base(config: &Config, running: &Running) -> Result<BaseUrl, Failure> {
    if let Some(url) = &config.public_url {
        return Ok(url.clone());
    }
    let scheme = if config.public.tls.is_some() { "https" } else { "http" };
    let mut address = running.public;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    BaseUrl::parse(&format!("{scheme}://{address}")).map_err(Failure::new)
}

/// Makes a token that may do everything, if nobody else will and nobody has.
async fn first_token(
    config: &Config,
    registry: &Registry,
    entropy: &Entropy,
) -> Result<Option<crate::access::TokenSecret>, Failure> {
    if config.admin_token_file.is_some() || registry.has_tokens().await.map_err(Failure::new)? {
        return Ok(None);
    }
    let new = NewToken {
        user: Owner::parse(FIRST_USER).expect("a valid login"),
        description: "first token, printed by `serve`".into(),
        grants: vec![Grant::on_all(Verb::ALL)],
        expires_at: None,
    };
    let secret = token::mint(registry, entropy, new).await?;
    tracing::event!(Level::INFO, user = FIRST_USER, "made the first token");
    Ok(Some(secret))
}
