//! `cargo dev crds`: the CRDs as files, out of the operator's types.
//!
//! The same text goes to two places: `crds/`, for people and for `kubectl apply -f`, and the chart `supercargo-crds`, so
//! that they are upgraded with Helm. `cargo dev test generated` compares.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::paths;
use crate::process::Run;
use crate::progress::{Step, say};

/// Folders that hold a copy, below the root of the project.
const FOLDERS: [&str; 2] = ["crds", "charts/supercargo-crds/files"];

/// Write `crds/` and the CRD chart from the operator's types
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Writes what is not as it should be, and says which files these are.
pub(crate) async fn run(_: Args) -> Result<ExitCode> {
    let scratch = tempfile::tempdir().context("making a scratch directory")?;
    for file in generate(scratch.path().to_owned()).await? {
        if !file.is_fresh() {
            file.write()?;
            say(file.path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A generated file: where it belongs and what has to be in it; without content it does not belong there.
#[derive(Debug)]
pub(crate) struct Generated {
    /// Its path.
    pub(crate) path: PathBuf,
    content: Option<String>,
}

impl Generated {
    /// Whether the file is as it should be.
    pub(crate) fn is_fresh(&self) -> bool {
        std::fs::read_to_string(&self.path).ok() == self.content
    }

    fn write(&self) -> Result<()> {
        let context = || format!("writing {}", self.path.display());
        match &self.content {
            None => std::fs::remove_file(&self.path).with_context(context),
            Some(content) => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder).with_context(context)?;
                }
                std::fs::write(&self.path, content).with_context(context)
            }
        }
    }
}

/// All generated files and those that lie among them without being generated. `scratch` is an empty folder.
pub(crate) async fn generate(scratch: PathBuf) -> Result<Vec<Generated>> {
    let step = Step::start("The operator prints its CRDs");
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Run::new(program)
        .args(["run", "--quiet", "--package", "supercargo-operator", "--", "crds", "--output-dir"])
        .arg(&scratch)
        .dir(paths::workspace())
        .logged(&step, &paths::build_log("crds"))
        .await?;
    step.unneeded();
    let wanted = files(&scratch)?;
    ensure!(!wanted.is_empty(), "the operator printed no CRD");
    let mut all = Vec::new();
    for folder in FOLDERS {
        let folder = paths::workspace().join(folder);
        for name in &wanted {
            let content = std::fs::read_to_string(scratch.join(name)).with_context(|| format!("reading {name}"))?;
            all.push(Generated { path: folder.join(name), content: Some(content) });
        }
        let left_over = files(&folder).unwrap_or_default().into_iter().filter(|name| !wanted.contains(name));
        all.extend(left_over.map(|name| Generated { path: folder.join(name), content: None }));
    }
    Ok(all)
}

/// Names of the files in a folder, in order.
fn files(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
