//! Packages and workspaces in a temporary directory, written the way a developer's editor would leave them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A directory with packages in it, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// An empty directory.
    pub fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("supercargo-scratch-").context("making a scratch directory")?;
        Ok(Self { dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Write `content` to `file` below the directory, with the folders it needs.
    pub fn write(&self, file: &str, content: &str) -> Result<&Self> {
        let path = self.dir.path().join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(self)
    }

    /// Read `file` below the directory.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.dir.path().join(file);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Write `package` into the folder `folder` (`""` for the directory itself) and say where it is.
    pub fn package(&self, folder: &str, package: &Package) -> Result<PathBuf> {
        let at = |file: &str| if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
        self.write(&at("Cargo.toml"), &package.manifest())?;
        self.write(&at(if package.is_binary { "src/main.rs" } else { "src/lib.rs" }), &package.code)?;
        for (file, content) in &package.files {
            self.write(&at(file), content)?;
        }
        Ok(self.dir.path().join(folder))
    }

    /// A workspace manifest over all the folders in `members`.
    pub fn workspace(&self, members: &[&str]) -> Result<&Self> {
        let members: Vec<String> = members.iter().map(|folder| format!("{folder:?}")).collect();
        let text = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", "));
        self.write("Cargo.toml", &text)
    }
}

/// One package to be written: a publishable library unless said otherwise.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    version: String,
    head: String,
    tables: String,
    code: String,
    is_binary: bool,
    files: Vec<(String, String)>,
}

impl Package {
    /// A library with a description and a licence, so that nothing about it is worth a warning.
    #[must_use]
    pub fn library(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            head: format!("description = \"{name} of a test\"\nlicense = \"MIT\"\n"),
            tables: String::new(),
            code: format!("//! {name}.\n/// The version.\npub const VERSION: &str = \"{version}\";\n"),
            is_binary: false,
            files: Vec::new(),
        }
    }

    /// A program whose `main` has the given body.
    #[must_use]
    pub fn program(name: &str, main: &str) -> Self {
        Self { code: format!("fn main() {{ {main} }}\n"), is_binary: true, ..Self::library(name, "0.0.0") }
    }

    /// More lines of `[package]`.
    #[must_use]
    pub fn head(mut self, lines: &str) -> Self {
        self.head.push_str(lines);
        self.head.push('\n');
        self
    }

    /// `[package]` without description and licence.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.head.clear();
        self
    }

    /// More tables: dependencies, features.
    #[must_use]
    pub fn tables(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// The code of `src/lib.rs` or `src/main.rs` in place of the default.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.code);
        self
    }

    /// One more file.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    fn manifest(&self) -> String {
        format!(
            "[package]\nname = \"{}\"\nversion = \"{}\"\nedition = \"2021\"\n{}\n{}",
            self.name, self.version, self.head, self.tables
        )
    }
}
