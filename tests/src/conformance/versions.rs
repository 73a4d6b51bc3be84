//! Versions: one content for ever, yanked or not.

use anyhow::Result;

use super::Subject;
use crate::scratch::{Package, Scratch};

/// A published version cannot be published with other content, nor as a twin that differs in build metadata alone.
pub async fn a_version_is_for_ever(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("for-ever", "1.0.0"))?;
    home.cargo(scratch.path(), "publish").await?.succeeded()?;

    scratch.package("", &Package::library("for-ever", "1.0.0").code("//! Other.\n"))?;
    home.cargo(scratch.path(), "publish").await?.refused(&["for-ever", "1.0.0", "already exists"])?;
    scratch.package("", &Package::library("for-ever", "1.0.0+build.2"))?;
    home.cargo(scratch.path(), "publish").await?.refused(&["1.0.0"])?;
    scratch.package("", &Package::library("for-ever", "1.0.1+build.1"))?;
    home.cargo(scratch.path(), "publish").await?.succeeded()?;

    let consumer = Scratch::new()?;
    let program = Package::program("consumer", "assert_eq!(for_ever::VERSION, \"1.0.1+build.1\")");
    let table = format!("[dependencies]\n{}", subject.dependency("for-ever", "1", ""));
    consumer.package("", &program.tables(&table))?;
    subject.developer()?.cargo(consumer.path(), "run").await?.succeeded()?;
    Ok(())
}

/// A crate without description or licence is taken, and Cargo prints what is missing.
pub async fn missing_metadata_is_a_warning(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("says-nothing", "0.1.0").bare())?;
    let run = home.cargo(scratch.path(), "publish").await?.succeeded()?;
    run.says(&["Published says-nothing v0.1.0", "description", "license"])?;
    Ok(())
}

/// After a yank nobody locks the version anew, who has it locked builds on, and `--undo` brings it back.
pub async fn yank_hides_from_new_locks_only(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("yanked-later", "0.1.0"))?;
    home.cargo(scratch.path(), "publish").await?.succeeded()?;

    let table = format!("[dependencies]\n{}", subject.dependency("yanked-later", "0.1", ""));
    let program = Package::program("consumer", "println!(\"{}\", yanked_later::VERSION)").tables(&table);
    let locked = Scratch::new()?;
    locked.package("", &program)?;
    home.cargo(locked.path(), "generate-lockfile").await?.succeeded()?;

    let yank = format!("yank --registry {} --version 0.1.0 yanked-later", subject.registry);
    home.cargo(scratch.path(), &yank).await?.succeeded()?;
    let fresh = Scratch::new()?;
    fresh.package("", &program)?;
    home.cargo(fresh.path(), "generate-lockfile").await?.refused(&["yanked-later"])?;
    subject.developer()?.cargo(locked.path(), "run --locked").await?.succeeded()?.says(&["0.1.0"])?;

    home.cargo(scratch.path(), &format!("{yank} --undo")).await?.succeeded()?;
    subject.developer()?.cargo(fresh.path(), "run").await?.succeeded()?.says(&["0.1.0"])?;
    Ok(())
}
