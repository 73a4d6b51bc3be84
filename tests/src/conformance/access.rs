//! Tokens and owners as Cargo's commands meet them.

use anyhow::{Result, ensure};

use super::Subject;
use crate::{
    http::get,
    scratch::{Package, Scratch},
};

/// A private registry shows nothing to somebody without a token or with a wrong one, and says how to get in.
pub async fn a_stranger_is_refused(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("for-members", "0.1.0"))?;
    home.cargo(scratch.path(), "publish").await?.succeeded()?;

    let consumer = Scratch::new()?;
    let table = format!("[dependencies]\n{}", subject.dependency("for-members", "0.1", ""));
    consumer.package("", &Package::program("consumer", "").tables(&table))?;
    let stranger = subject.stranger()?;
    stranger
        .cargo(consumer.path(), "generate-lockfile")
        .await?
        .refused(&["no token found", &format!("cargo login --registry {}", subject.registry)])?;
    stranger.cargo(scratch.path(), "publish --no-verify --allow-dirty").await?.refused(&["no token found"])?;
    stranger
        .cargo(scratch.path(), &format!("search --registry {} for-members", subject.registry))
        .await?
        .refused(&["no token found"])?;

    let wrong = format!("[registries.{}]\ntoken = \"scg_nonsense\"\n", subject.registry);
    stranger.write("credentials.toml", &wrong)?;
    stranger
        .cargo(consumer.path(), "generate-lockfile")
        .await?
        .refused(&["token rejected", &format!("cargo login --registry {}", subject.registry)])?;
    Ok(())
}

/// The page that Cargo points to says how to log in, `cargo login` takes the token, and what follows works.
pub async fn login_then_publish(subject: &Subject) -> Result<()> {
    let home = subject.stranger()?;
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("after-login", "0.1.0"))?;
    let login = format!("login --registry {}", subject.registry);
    let base = subject.index.trim_start_matches("sparse+").trim_end_matches("/index/");
    let (status, page) = get(&format!("{base}/me"), None).await?;
    let page = String::from_utf8_lossy(&page).into_owned();
    ensure!(status.is_success() && page.contains("cargo login"), "GET {base}/me: {status}\n{page}");
    home.cargo_with_input(scratch.path(), &login, &subject.token).await?.succeeded()?;
    home.cargo(scratch.path(), "publish").await?.succeeded()?;
    home.cargo(scratch.path(), &format!("logout --registry {}", subject.registry)).await?.succeeded()?;
    home.cargo(scratch.path(), &format!("owner --registry {} --list after-login", subject.registry))
        .await?
        .refused(&["no token found"])?;
    Ok(())
}

/// Who publishes a crate first owns it; owners are listed, added and removed, and the last one stays.
pub async fn owners_come_and_go(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("owned-crate", "0.1.0"))?;
    home.cargo(scratch.path(), "publish").await?.succeeded()?;
    let owner = |arguments: &str| format!("owner --registry {} {arguments} owned-crate", subject.registry);
    home.cargo(scratch.path(), &owner("--add somebody")).await?.succeeded()?;
    home.cargo(scratch.path(), &owner("--list")).await?.succeeded()?.says(&["somebody"])?;
    home.cargo(scratch.path(), &owner("--remove somebody")).await?.succeeded()?;
    let left = home.cargo(scratch.path(), &owner("--list")).await?.succeeded()?;
    ensure!(!left.stdout.contains("somebody"), "a removed owner is still listed\n{left}");
    let me = left.stdout.split_whitespace().next().unwrap_or_default().to_owned();
    home.cargo(scratch.path(), &owner(&format!("--remove {me}"))).await?.refused(&["owner"])?;
    Ok(())
}
