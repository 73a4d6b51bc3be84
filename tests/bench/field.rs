//! Everybody who is measured, with the same crates.

use std::path::PathBuf;

use anyhow::{Context, Result};
use supercargo_registry::krate::CrateName;

use crate::{
    client::Target,
    data::{self, Plan},
    kellnr::Kellnr,
    ktra::Ktra,
    nginx::{Nginx, Site},
    server::{Place, Program, Server, Storage},
    tls::Certificate,
};

/// The servers of one run.
pub(crate) struct Field {
    pub(crate) plans: Vec<Plan>,
    /// Over plain HTTP, open to anonymous readers, so that both ways of asking can be measured.
    pub(crate) ours: Server,
    /// Over TLS, with one small crate.
    pub(crate) ours_tls: Server,
    pub(crate) nginx: Nginx,
    pub(crate) kellnr: Option<Kellnr>,
    pub(crate) ktra: Option<Ktra>,
}

impl Field {
    /// Makes the crates and starts everybody.
    pub(crate) async fn start(program: &Program, kellnr: Option<&PathBuf>, ktra: Option<&PathBuf>) -> Result<Self> {
        let certificate = Certificate::new()?;
        let open = |place: Place| place.set("SUPERCARGO_ACCESS_VISIBILITY", "public");
        let place = open(Place::new(Storage::File).await?);
        let tls = open(Place::new(Storage::File).await?)
            .set("SUPERCARGO_PUBLIC_TLS_CERTIFICATE", certificate.chain().display())
            .set("SUPERCARGO_PUBLIC_TLS_PRIVATE_KEY", certificate.key().display());
        let (plans, site) = (data::plans(), Site::new()?);
        println!(
            "making {} crates with {} versions",
            plans.len(),
            plans.iter().map(|plan| plan.versions).sum::<usize>()
        );
        let (plans, site) = {
            let (main, small) = (place.data(), tls.data());
            let runtime = tokio::runtime::Handle::current();
            let make = move || {
                let (store, small) = (data::file_store(&main)?, data::file_store(&small)?);
                data::make_all(&plans, |made| {
                    site.add(&made)?;
                    if made.name.as_str() == data::SMALL {
                        data::store(&small, &runtime, &made)?;
                    }
                    data::store(&store, &runtime, &made)
                })?;
                anyhow::Ok((plans, site))
            };
            tokio::task::spawn_blocking(make).await.context("making crates")??
        };
        let kellnr = match kellnr {
            Some(program) => {
                println!("publishing them to Kellnr");
                let kellnr = Kellnr::start(program).await?;
                kellnr.fill(&plans).await?;
                Some(kellnr)
            }
            None => None,
        };
        let ktra = match ktra {
            Some(program) => {
                let ktra = Ktra::start(program).await?;
                ktra.fill(&plans).await?;
                Some(ktra)
            }
            None => None,
        };
        Ok(Self {
            plans,
            ours: program.start(place).await?,
            ours_tls: program.start(tls).await?,
            nginx: site.serve(&certificate).await?,
            kellnr,
            ktra,
        })
    }

    /// A crate by name.
    pub(crate) fn plan(&self, name: &str) -> Result<&Plan> {
        self.plans.iter().find(|plan| plan.name == name).with_context(|| format!("no crate {name}"))
    }

    /// Where our crates are published.
    pub(crate) fn target(&self) -> Target {
        target(&self.ours)
    }

    /// Ends everybody.
    pub(crate) async fn stop(self) -> Result<()> {
        self.ours.stop().await?;
        self.ours_tls.stop().await?;
        self.nginx.stop().await?;
        if let Some(kellnr) = self.kellnr {
            kellnr.stop().await?;
        }
        if let Some(ktra) = self.ktra {
            ktra.stop().await?;
        }
        Ok(())
    }
}

/// Where crates are published to this server.
pub(crate) fn target(server: &Server) -> Target {
    Target { url: format!("{}/api/v1/crates/new", server.base()), token: server.token().to_owned() }
}

/// Where a crate's index file is, below the root of the index, with a slash in front.
pub(crate) fn index_path(name: &str) -> Result<String> {
    Ok(format!("/{}", CrateName::parse(name)?.index_path()))
}
