//! Names: the four folders of the index, case, and `-` against `_`.

use anyhow::Result;

use super::Subject;
use crate::scratch::{Package, Scratch};

/// Names of one, two, three, four and more letters, with capitals, `-` and `_`, are published, found, resolved and built.
pub async fn names_of_every_length_and_case(subject: &Subject) -> Result<()> {
    const NAMES: [&str; 6] = ["a", "ab", "abc", "abcd", "Mixed-Case_Name", "snake_and-kebab"];
    let (home, scratch) = (subject.developer()?, Scratch::new()?);
    scratch.workspace(&NAMES)?;
    for name in NAMES {
        scratch.package(name, &Package::library(name, "1.0.0"))?;
    }
    home.cargo(scratch.path(), "publish --workspace").await?.succeeded()?;

    let fresh = subject.developer()?;
    let consumer = Scratch::new()?;
    let lines: Vec<String> = NAMES.iter().map(|name| subject.dependency(name, "1", "")).collect();
    let printed: Vec<String> = NAMES.iter().map(|name| format!("{}::VERSION", name.replace('-', "_"))).collect();
    let program =
        Package::program("consumer", &format!("for v in [{}] {{ assert_eq!(v, \"1.0.0\") }}", printed.join(", ")))
            .tables(&format!("[dependencies]\n{}", lines.join("\n")));
    consumer.package("", &program)?;
    fresh.cargo(consumer.path(), "run").await?.succeeded()?;

    let found = fresh.cargo(consumer.path(), &format!("search --registry {} mixed-case", subject.registry)).await?;
    found.succeeded()?.says(&["Mixed-Case_Name = \"1.0.0\""])?;
    let info = fresh.cargo(consumer.path(), &format!("info --registry {} Mixed-Case_Name", subject.registry)).await?;
    info.succeeded()?.says(&["Mixed-Case_Name", "1.0.0", "MIT"])?;
    Ok(())
}

/// A name that differs from a published one only in case, `-` or `_` is refused, and the refusal names the one that is there.
pub async fn twins_by_name_are_refused(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    let first = Scratch::new()?;
    first.package("", &Package::library("Twin-Name", "1.0.0"))?;
    home.cargo(first.path(), "publish").await?.succeeded()?;
    for twin in ["twin-name", "twin_name", "TWIN_NAME"] {
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library(twin, "1.1.0"))?;
        home.cargo(scratch.path(), "publish").await?.refused(&["Twin-Name"])?;
    }
    Ok(())
}
