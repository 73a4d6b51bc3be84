//! `cargo dev demo`: from nothing to a program built from a private registry, with everything on the way shown.
//!
//! The order of the story is [`run`]. [`place`] is the cluster it happens on, [`install`] puts operator and registry
//! there, [`developer`] is the laptop that publishes and builds, [`bucket`] shows what became of it.

mod bucket;
mod developer;
mod install;
mod kubectl;
mod place;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::progress::{say, seconds};
use developer::{Laptop, REGISTRY};
pub(crate) use install::operator as install_operator;
pub(crate) use place::Place;
use place::Reached;

/// Namespace of everything in `deploy/examples/quickstart.yaml`.
const NAMESPACE: &str = "demo";

/// Watch the operator make a registry on object storage, and Cargo publish to it and build from it
///
/// The first run builds Kubernetes and other tools from source (15 to 25 minutes on two cores, shown as it goes); later ones
/// take about a minute. Everything it makes may be there already: running it again is safe.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Use the cluster of this kubeconfig context (kind, minikube, any) instead of one on this machine
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Image of the operator, where the cluster of --context can pull it
    #[arg(long, value_name = "IMAGE", requires = "context")]
    operator_image: Option<String>,
    /// Image of the registry, where the cluster of --context can pull it
    #[arg(long, value_name = "IMAGE", requires = "context")]
    registry_image: Option<String>,
}

/// Tells the whole story, or stops at the first thing that does not work.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let begun = Instant::now();
    chapter("1. A cluster, and the images of both programs");
    let place = match args.context {
        None => Place::here().await?,
        Some(context) => Place::elsewhere(context, args.operator_image, args.registry_image).await?,
    };
    chapter("2. The operator, by its Helm chart");
    install::operator(&place).await?;
    chapter("3. A registry: deploy/examples/quickstart.yaml");
    install::registry(&place).await?;
    let reached = place.reach_registry().await?;
    chapter("4. A developer publishes two crates, and another one builds with them");
    let token = install::token(&place).await?;
    let laptop = Laptop::new(&reached.index)?;
    publish_and_build(&laptop, &token).await?;
    chapter("5. A version is yanked");
    yank(&laptop).await?;
    chapter("6. What lies in the bucket");
    show_bucket(&place).await?;
    ending(&place, &reached, begun);
    Ok(ExitCode::SUCCESS)
}

fn chapter(title: &str) {
    say(format_args!("\n== {title}"));
}

/// Login, publish, search; then from an empty `CARGO_HOME`: add, build, run.
async fn publish_and_build(laptop: &Laptop, token: &str) -> Result<()> {
    let login = laptop.cargo("greetings", &format!("login --registry {REGISTRY}"), token).await?;
    ensure!(login.success, "cargo login failed:\n{}", login.text);
    let published = laptop.cargo("greetings", &format!("publish --workspace --registry {REGISTRY}"), "").await?;
    if !published.success {
        if !published.text.contains("already exists") {
            bail!("cargo publish failed:\n{}", published.text);
        }
        say("  (published by an earlier run: a version is for ever)");
        // That run may have ended between its yank and its undo.
        laptop.must("greetings", &yank_of("--undo ")).await?;
    }
    let found = laptop.must("greetings", &format!("search --registry {REGISTRY} greeting")).await?;
    ensure!(found.text.contains("greeting-speech"), "cargo search did not find what was published:\n{}", found.text);

    say("\n  Another laptop: an empty CARGO_HOME but for the address of the registry and a token.");
    laptop.empty_home(Some(token))?;
    laptop.must("app", &format!("add greeting-speech --registry {REGISTRY}")).await?;
    laptop.must("app", "build").await?;
    let ran = laptop.must("app", "run --quiet").await?;
    ensure!(ran.text.contains("Hello, Supercargo!"), "the program said something else:\n{}", ran.text);
    Ok(())
}

/// A fresh resolve refuses a yanked version, a lock file still builds, and the yank is taken back.
async fn yank(laptop: &Laptop) -> Result<()> {
    laptop.must("greetings", &yank_of("")).await?;
    say("\n  A fresh resolve, without the lock file:");
    laptop.rename("app/Cargo.lock", "app/Cargo.lock.kept")?;
    let fresh = laptop.cargo("app", "generate-lockfile", "").await?;
    ensure!(
        !fresh.success && fresh.text.contains("greeting-words"),
        "a yanked version was resolved anew:\n{}",
        fresh.text
    );
    say("\n  With the lock file, and nothing built yet:");
    laptop.rename("app/Cargo.lock.kept", "app/Cargo.lock")?;
    std::fs::remove_dir_all(laptop.folder("app/target"))?;
    laptop.must("app", "run --quiet --locked").await?;
    laptop.must("greetings", &yank_of("--undo ")).await?;
    Ok(())
}

fn yank_of(undo: &str) -> String {
    format!("yank --registry {REGISTRY} {undo}--version 0.1.0 greeting-words")
}

async fn show_bucket(place: &Place) -> Result<()> {
    let objects = place.bucket_of_quickstart().await?;
    ensure!(
        objects.iter().any(|object| object.key.starts_with("v1/crate/")),
        "the bucket has no crate record: {objects:?}"
    );
    for object in objects {
        say(format_args!("  {:>8}  {}", crate::progress::bytes(object.size), object.key));
    }
    say("  (each v1/crate/ record is gzip: `zcat` shows its header and Cargo's index file)");
    Ok(())
}

fn ending(place: &Place, reached: &Reached, begun: Instant) {
    let kubectl = place.kubectl_for_people();
    say(format_args!("\n== Done in {}. The registry goes on running.", seconds(begun.elapsed())));
    say(format_args!("\n  Index       {}", reached.index));
    if let Some(forward) = &reached.forward_for_people {
        say(format_args!("  Reach it    {forward}"));
    }
    say("  Configure   in ~/.cargo/config.toml or a project's .cargo/config.toml:");
    for line in developer::configuration(&reached.index) {
        say(format_args!("                {line}"));
    }
    say(format_args!(
        "  Log in      {kubectl} -n {NAMESPACE} get secret developer -o go-template='{{{{.data.token|base64decode}}}}' \\\n                \
         | cargo login --registry {REGISTRY}"
    ));
    say(format_args!("  Look        {kubectl} -n {NAMESPACE} get cargo"));
    say(format_args!("              {kubectl} explain cargoregistry.spec"));
    if place.is_here() {
        say("  Go on       cargo dev status | cargo dev logs | cargo dev down");
    } else {
        say(format_args!(
            "  Clean up    {kubectl} delete namespace {NAMESPACE}; helm -n supercargo-system uninstall supercargo"
        ));
    }
}
