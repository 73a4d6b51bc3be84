//! `supercargo-registry crate delete | restore`: directly on the store, for a registry without an operator. On a directory only while no server
//! holds it.

use clap::{Args, Subcommand};

use super::{Failure, Opened, Source, say};
use crate::krate::CrateName;

/// What an administrator may do to crates.
#[derive(Debug, Subcommand)]
pub(super) enum Crate {
    /// Take a crate away: it reads as missing, and nobody can publish under its name; nothing of it is lost
    Delete(Name),
    /// Give a deleted crate back as it was
    Restore(Name),
}

/// Arguments of `crate delete` and `crate restore`.
#[derive(Debug, Args)]
pub(super) struct Name {
    #[command(flatten)]
    source: Source,
    /// The crate
    name: CrateName,
}

impl Crate {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (delete, Name { source, name }) = match self {
            Self::Delete(name) => (true, name),
            Self::Restore(name) => (false, name),
        };
        let Opened { registry, .. } = source.open().await?;
        if registry.crate_state(&name).await.map_err(Failure::new)?.is_none() {
            return Err(Failure::new(format!("there is no crate `{name}`")));
        }
        let change = if delete { registry.delete_crate(&name).await } else { registry.restore_crate(&name).await };
        change.map_err(Failure::new)?;
        registry.finish_writes().await;
        say(&format!("{} {name}", if delete { "deleted" } else { "restored" }));
        Ok(())
    }
}
