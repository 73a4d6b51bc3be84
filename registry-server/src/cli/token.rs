//! `supercargo-registry token create | list | revoke`: directly on the store, for a registry without an operator. On a directory only while no
//! server holds it.

use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::{Failure, Source, ambient, say};
use crate::access::{CratePattern, Grant, NewToken, TokenHash, TokenSecret, Verb};
use crate::ambient::{Clock, Entropy};
use crate::krate::Owner;
use crate::registry::{Registry, Storage};
use crate::store::proof::Verdict;
use crate::{server, telemetry};

/// What may be done to tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it; it is shown this once and kept as a hash only
    Create(Create),
    /// List the tokens: hashes, users, grants; never the tokens themselves
    List(List),
    /// Revoke a token, for ever
    Revoke(Revoke),
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    source: Source,
    /// The user it stands for; becomes the owner of the crates that it publishes first
    #[arg(long)]
    user: Owner,
    /// What it may do, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "Read,PublishNew,PublishUpdate,Yank,Owners",
        value_name = "VERBS"
    )]
    verbs: Vec<Verb>,
    /// On which crates, separated by commas; `*` stands for any characters
    #[arg(long, value_delimiter = ',', default_value = "*", value_name = "PATTERNS")]
    crates: Vec<CratePattern>,
    /// How long it lasts, such as 90d or 12h; for ever if left out
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<humantime::Duration>,
    /// What it is for
    #[arg(long, default_value = "")]
    description: String,
}

/// Arguments of `token list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    source: Source,
}

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    source: Source,
    /// The SHA-256 of the token, as `token list` shows it
    sha256: TokenHash,
}

impl Token {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

/// The registry in its store, without a server.
async fn open(source: &Source) -> Result<(Arc<Registry>, Clock, Entropy), Failure> {
    let config = source.load().map_err(Failure::wrong)?;
    telemetry::init(&config.log).map_err(Failure::new)?;
    let storage = Storage::open(&config.storage).await.map_err(Failure::wrong)?;
    let (clock, entropy) = ambient();
    // Servers that hold the token in memory are told, or outlasted.
    let replication = server::replication(&config, None).map_err(Failure::wrong)?;
    let registry = Registry::replicated(&storage, config.visibility, replication, clock.clone(), entropy.clone());
    let verdict: Verdict = registry.open_now().await;
    if !verdict.is_proven() {
        return Err(Failure::new(format!("{}: {}", registry.location(), verdict.message)));
    }
    Ok((Arc::new(registry), clock, entropy))
}

/// Makes a token in the registry; only its hash is stored.
pub(super) async fn mint(registry: &Registry, entropy: &Entropy, new: NewToken) -> Result<TokenSecret, Failure> {
    let secret = entropy.with(TokenSecret::generate);
    registry.put_token(secret.hash(), new).await.map_err(Failure::new)?;
    Ok(secret)
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let (registry, clock, entropy) = open(&self.source).await?;
        let expires_at = self.expires_in.map(|duration| end(clock.now(), *duration)).transpose()?;
        let grants = vec![Grant { verbs: self.verbs.into_iter().collect(), crates: self.crates }];
        let new = NewToken { user: self.user, description: self.description, grants, expires_at };
        let secret = mint(&registry, &entropy, new).await?;
        // The token alone on standard output, so that it can be piped.
        say(secret.expose());
        Ok(())
    }
}

fn end(now: Timestamp, duration: std::time::Duration) -> Result<Timestamp, Failure> {
    let far = |_| Failure::wrong("--expires-in is too far in the future");
    let duration = SignedDuration::try_from(duration).map_err(far)?;
    now.checked_add(duration).map_err(far)
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let (registry, clock, _) = open(&self.source).await?;
        let tokens = registry.tokens().await.map_err(Failure::new)?;
        if tokens.is_empty() {
            say("no tokens; make one with `supercargo-registry token create --user NAME`");
        }
        for (hash, token) in tokens {
            let state = match (token.revoked_at, token.expires_at) {
                (Some(at), _) => format!("revoked {at:.0}"),
                (None, Some(at)) if at <= clock.now() => format!("expired {at:.0}"),
                (None, Some(at)) => format!("expires {at:.0}"),
                (None, None) => "for ever".to_owned(),
            };
            let grants: Vec<_> = token.grants.iter().map(describe).collect();
            say(&format!("{hash}  {}  {state}  {}  {}", token.user, grants.join("; "), token.description));
        }
        Ok(())
    }
}

fn describe(grant: &Grant) -> String {
    let verbs: Vec<_> = grant.verbs.iter().map(ToString::to_string).collect();
    let crates: Vec<_> = grant.crates.iter().map(ToString::to_string).collect();
    format!("{} on {}", verbs.join(","), crates.join(","))
}

impl Revoke {
    async fn run(self) -> Result<(), Failure> {
        let (registry, ..) = open(&self.source).await?;
        if registry.token(self.sha256).await.map_err(Failure::new)?.is_none() {
            return Err(Failure::new(format!("there is no token {}", self.sha256)));
        }
        registry.revoke_token(self.sha256).await.map_err(Failure::new)?;
        say(&format!("revoked {}", self.sha256));
        Ok(())
    }
}
