//! Paths in a tarball: what may be one, and that no two meet on any file system.

use std::collections::BTreeMap;

use tar::EntryType;

use super::TarballError;

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// Deepest nesting, top folder included.
const DEPTH_MAX: usize = 64;
/// All paths together, with the folders they imply, in bytes: what checking costs in memory. Several uploads are checked at once.
const TREE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What one path costs beside its letters: its place in the map, and two allocations.
const NODE_BYTES: usize = 96;
/// Cargo packs no file with one of these in its name, since Windows has none (`src/cargo/ops/cargo_package`,
/// `check_filename`); `\` and `:` would lead out of the folder there.
const BAD_CHARS: &[char] = &['\\', '<', '>', ':', '"', '|', '?', '*'];

/// All paths seen so far.
pub(super) struct Tree {
    /// `{name}-{version}`.
    top: String,
    /// By path in lower case.
    nodes: BTreeMap<String, Node>,
    bytes: usize,
}

struct Node {
    /// The path as first spelled, if that is not lower case.
    spelling: Option<Box<str>>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// With an entry of its own.
    Directory,
    /// Some file lies below it.
    Implied,
}

impl Tree {
    pub(super) fn new(top: String) -> Self {
        Self { top, nodes: BTreeMap::new(), bytes: 0 }
    }

    /// The folder that everything lies in.
    pub(super) fn top(&self) -> &str {
        &self.top
    }

    /// The path of an entry as text, without a trailing slash. A regular file or a directory, below the top folder.
    pub(super) fn check(&self, raw: &[u8], kind: EntryType) -> Result<String, TarballError> {
        let shown = || String::from_utf8_lossy(&raw[..raw.len().min(200)]).into_owned();
        match kind {
            EntryType::Regular | EntryType::Directory => {}
            EntryType::Symlink | EntryType::Link => return Err(TarballError::Link { path: shown() }),
            other => return Err(TarballError::Kind { path: shown(), kind: format!("{other:?}") }),
        }
        if raw.len() > PATH_BYTES_MAX {
            return Err(TarballError::PathTooLong { path: shown(), bytes: raw.len(), limit: PATH_BYTES_MAX });
        }
        let path = std::str::from_utf8(raw).map_err(|_| TarballError::PathNotUtf8 { path: shown() })?;
        if path.starts_with('/') {
            return Err(TarballError::Absolute { path: shown() });
        }
        if let Some(char) = path.chars().find(|c| c.is_control() || BAD_CHARS.contains(c)) {
            return Err(TarballError::PathChar { path: shown(), char });
        }
        let path = if kind == EntryType::Directory { path.strip_suffix('/').unwrap_or(path) } else { path };
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(TarballError::PathPart { path: shown() });
        }
        let inside = path.strip_prefix(&self.top).is_some_and(|rest| match kind {
            EntryType::Directory => rest.is_empty() || rest.starts_with('/'),
            _ => rest.starts_with('/'),
        });
        if !inside {
            return Err(TarballError::OutsideTop { path: shown(), top: self.top.clone() });
        }
        if path.split('/').count() > DEPTH_MAX {
            return Err(TarballError::PathTooDeep { path: shown(), limit: DEPTH_MAX });
        }
        if path[self.top.len()..].eq_ignore_ascii_case("/.cargo-ok") {
            return Err(TarballError::CargoOk);
        }
        Ok(path.to_owned())
    }

    /// Whether a checked path is the one manifest.
    pub(super) fn is_manifest(&self, path: &str) -> Result<bool, TarballError> {
        let inside = &path[self.top.len() + 1..];
        if !inside.eq_ignore_ascii_case("Cargo.toml") {
            return Ok(false);
        }
        let there = |node: &Node| Some(node.spelling.as_deref()?.to_owned());
        if let Some(first) = self.nodes.get(&path.to_lowercase()).and_then(there) {
            return Err(TarballError::TwoManifests { first, second: path.to_owned() });
        }
        if inside != "Cargo.toml" {
            return Err(TarballError::ManifestCase { path: path.to_owned() });
        }
        Ok(true)
    }

    pub(super) fn add_file(&mut self, path: &str) -> Result<(), TarballError> {
        self.add_parents(path)?;
        self.add(path, Kind::File)
    }

    pub(super) fn add_directory(&mut self, path: &str) -> Result<(), TarballError> {
        self.add_parents(path)?;
        self.add(path, Kind::Directory)
    }

    fn add_parents(&mut self, path: &str) -> Result<(), TarballError> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        ends.map(|end| &path[..end]).try_for_each(|parent| self.add(parent, Kind::Implied))
    }

    fn add(&mut self, path: &str, kind: Kind) -> Result<(), TarballError> {
        let key = path.to_lowercase();
        let Some(node) = self.nodes.get_mut(&key) else {
            let spelling = (key != path).then(|| Box::from(path));
            self.bytes += NODE_BYTES + key.len() * if spelling.is_some() { 2 } else { 1 };
            if self.bytes > TREE_BYTES_MAX {
                return Err(TarballError::TooManyPaths { limit: TREE_BYTES_MAX, each: NODE_BYTES });
            }
            self.nodes.insert(key, Node { spelling, kind });
            return Ok(());
        };
        let first = node.spelling.as_deref().unwrap_or(&key);
        let refuse = || Err(TarballError::Duplicate { path: path.to_owned(), first: first.to_owned() });
        match (node.kind, kind) {
            _ if first != path => refuse(),
            (Kind::Directory | Kind::Implied, Kind::Implied) => Ok(()),
            (Kind::Implied, Kind::Directory) => {
                node.kind = Kind::Directory;
                Ok(())
            }
            _ => refuse(),
        }
    }
}
