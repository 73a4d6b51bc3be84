//! `supercargo-registry token create | list | revoke`: directly on the store, for a registry without an operator. On a directory only while no
//! server holds it.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::{Failure, Opened, Source, say};
use crate::access::{CratePattern, Grant, NewToken, TokenHash, TokenSecret, Verb};
use crate::ambient::Entropy;
use crate::krate::Owner;
use crate::registry::Registry;

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

/// Makes a token in the registry; only its hash is stored.
pub(super) async fn mint(registry: &Registry, entropy: &Entropy, new: NewToken) -> Result<TokenSecret, Failure> {
    let secret = entropy.with(TokenSecret::generate);
    registry.put_token(secret.hash(), new).await.map_err(Failure::new)?;
    Ok(secret)
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let Opened { registry, clock, entropy, .. } = self.source.open().await?;
        let expires_at = self.expires_in.map(|duration| end(clock.now(), *duration)).transpose()?;
        let grants = vec![Grant { verbs: self.verbs.into_iter().collect(), crates: self.crates }];
        let new = NewToken { user: self.user, description: self.description, grants, expires_at };
        let secret = mint(&registry, &entropy, new).await?;
        registry.finish_writes().await;
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
        let Opened { registry, clock, .. } = self.source.open().await?;
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
        let Opened { registry, .. } = self.source.open().await?;
        if registry.token(self.sha256).await.map_err(Failure::new)?.is_none() {
            return Err(Failure::new(format!("there is no token {}", self.sha256)));
        }
        registry.revoke_token(self.sha256).await.map_err(Failure::new)?;
        registry.finish_writes().await;
        say(&format!("revoked {}", self.sha256));
        Ok(())
    }
}
