//! The `.crate` file: gzip over tar, read through once under limits, and nothing unpacked.
//!
//! Whatever two programs could read differently is refused, so that what was checked is what Cargo unpacks: links and
//! special files (CVE-2026-5223), paths that leave the one top folder or that one file system takes for another, a pax
//! `size` that contradicts the header, data behind the end of the tar or of the gzip stream.
//!
//! Memory is bounded: extension headers, the manifest and the list of paths have limits of their own, everything else
//! flows through. A limit never cuts silently: sizes are compared before and after reading.

mod error;
mod path;
mod source;

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};

pub use error::TarballError;
use path::Tree;
use source::{Metered, Source, Trouble};

use super::{CrateName, Version};

/// What an upload may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TarballLimits {
    /// Longest unpacked tar stream, in bytes; so the sum of all file sizes stays below it too.
    pub unpacked_bytes_max: u64,
    /// Most entries.
    pub entries_max: u32,
}

/// Largest `Cargo.toml`, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Largest extension header (a long name, or pax records), in bytes.
const EXTENSION_BYTES_MAX: u64 = 8 * 1024;
/// An archive may unpack to this many times its size...
const RATIO_MAX: u64 = 200;
/// ...or to this many bytes, whichever is more: small archives of dull text compress very well.
const RATIO_FREE_BYTES: u64 = 32 * 1024 * 1024;
/// Cargo refuses to unpack more than this, or than twenty times the archive (`src/cargo/sources/registry/mod.rs`,
/// `max_unpack_size`).
const CARGO_UNPACKED_BYTES: u64 = 512 * 1024 * 1024;
const CARGO_RATIO: u64 = 20;

/// How many bytes the tar stream may have, and which rule says so.
#[derive(Clone, Copy)]
struct Limit {
    bytes: u64,
    krate_bytes: u64,
    rule: Rule,
}

#[derive(Clone, Copy)]
enum Rule {
    Registry,
    Ratio,
    Cargo,
}

impl Limit {
    fn tightest(unpacked_bytes_max: u64, krate_bytes: u64) -> Self {
        let by_ratio = RATIO_FREE_BYTES.max(RATIO_MAX.saturating_mul(krate_bytes));
        let by_cargo = CARGO_UNPACKED_BYTES.max(CARGO_RATIO.saturating_mul(krate_bytes));
        let rules = [(unpacked_bytes_max, Rule::Registry), (by_ratio, Rule::Ratio), (by_cargo, Rule::Cargo)];
        let (bytes, rule) = rules.into_iter().min_by_key(|(bytes, _)| *bytes).expect("there are three");
        Self { bytes, krate_bytes, rule }
    }

    fn refusal(self) -> TarballError {
        let Self { bytes, krate_bytes, rule } = self;
        match rule {
            Rule::Registry => TarballError::TooLarge { limit: bytes },
            Rule::Ratio => TarballError::Ratio { krate_bytes, ratio: RATIO_MAX },
            Rule::Cargo => TarballError::CargoLimit { krate_bytes },
        }
    }
}

/// What a look into the tarball found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The text of the one `Cargo.toml`.
    pub manifest: String,
    /// Number of files.
    pub files: u32,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
}

impl Unpacked {
    /// Reads the whole `.crate` file, `krate_bytes` long. Blocking: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`TarballError`]: one variant per rule. [`TarballError::Io`] alone is not the publisher's fault.
    pub fn open<R: BufRead>(
        krate: R,
        krate_bytes: u64,
        name: &CrateName,
        version: &Version,
        limits: &TarballLimits,
    ) -> Result<Self, TarballError> {
        let limit = Limit::tightest(limits.unpacked_bytes_max, krate_bytes);
        let trouble = Trouble::default();
        let source = Source::new(krate, trouble.clone());
        let mut archive = Archive::new(Metered::new(GzDecoder::new(source), limit, trouble.clone()));
        let result = read_entries(&mut archive, name, version, limit, limits.entries_max)
            .and_then(|unpacked| read_rest(archive.into_inner()).map(|()| unpacked));
        // What the readers below know is more precise than what came of it above.
        result.map_err(|error| trouble.take().unwrap_or(error))
    }
}

/// An extension header that describes the entry after it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    pending: bool,
}

fn read_entries<R: Read>(
    archive: &mut Archive<Metered<R>>,
    name: &CrateName,
    version: &Version,
    limit: Limit,
    entries_max: u32,
) -> Result<Unpacked, TarballError> {
    let mut tree = Tree::new(format!("{name}-{version}"));
    let mut manifest = None;
    let (mut files, mut bytes, mut entries) = (0, 0_u64, 0);
    let mut extension = Extension::default();
    // Raw: the library would read extension headers into memory whatever their size.
    for entry in archive.entries().map_err(tar_error)?.raw(true) {
        let mut entry = entry.map_err(tar_error)?;
        entries += 1;
        if entries > entries_max {
            return Err(TarballError::TooManyEntries { limit: entries_max });
        }
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::GNULongName | EntryType::XHeader) {
            extension.read(&mut entry, kind)?;
            continue;
        }
        let extension = std::mem::take(&mut extension);
        let raw_path = extension.path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let path = tree.check(&raw_path, kind)?;
        let size = entry.size();
        if extension.size.is_some_and(|pax| pax != size) {
            return Err(TarballError::PaxSize { path });
        }
        bytes = bytes.saturating_add(size);
        // Before reading: the limit on the stream would find it too, but only after reading so much.
        if bytes > limit.bytes {
            return Err(limit.refusal());
        }
        if kind == EntryType::Directory {
            if size > 0 {
                return Err(TarballError::DirectoryWithData { path });
            }
            tree.add_directory(&path)?;
            continue;
        }
        let is_manifest = tree.is_manifest(&path)?;
        tree.add_file(&path)?;
        files += 1;
        if is_manifest {
            manifest = Some(read_manifest(&mut entry)?);
        } else {
            let got = io::copy(&mut entry, &mut io::sink()).map_err(tar_error)?;
            if got != size {
                return Err(TarballError::CutShort { path, got, size });
            }
        }
    }
    if extension.pending {
        return Err(TarballError::Tar { why: "it ends with a header that describes the next file".to_owned() });
    }
    let manifest = manifest.ok_or_else(|| TarballError::NoManifest { top: tree.top().to_owned() })?;
    Ok(Unpacked { manifest, files, bytes })
}

fn read_manifest<R: Read>(entry: &mut Entry<'_, R>) -> Result<String, TarballError> {
    let size = entry.size();
    if size > MANIFEST_BYTES_MAX {
        return Err(TarballError::ManifestTooLong { bytes: size, limit: MANIFEST_BYTES_MAX });
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(tar_error)?;
    if bytes.len() as u64 != size {
        return Err(TarballError::CutShort { path: "Cargo.toml".to_owned(), got: bytes.len() as u64, size });
    }
    String::from_utf8(bytes).map_err(|_| TarballError::ManifestNotUtf8)
}

impl Extension {
    fn read<R: Read>(&mut self, entry: &mut Entry<'_, R>, kind: EntryType) -> Result<(), TarballError> {
        let size = entry.size();
        if size > EXTENSION_BYTES_MAX {
            return Err(TarballError::ExtensionTooLong { bytes: size, limit: EXTENSION_BYTES_MAX });
        }
        let known = entry.header().as_gnu().is_some() || entry.header().as_ustar().is_some();
        if !known || self.pending {
            let why = "a header that describes the next file is doubled or of an unknown format";
            return Err(TarballError::Tar { why: why.to_owned() });
        }
        self.pending = true;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(tar_error)?;
        if bytes.len() as u64 != size {
            return Err(TarballError::CutShort {
                path: "(extension header)".to_owned(),
                got: bytes.len() as u64,
                size,
            });
        }
        if kind == EntryType::GNULongName {
            bytes.pop_if(|last| *last == 0);
            self.path = Some(bytes);
            return Ok(());
        }
        self.read_pax(&bytes)
    }

    /// pax records (POSIX.1-2017, "pax Header Block"). Those that change what the file is are refused; times and owners
    /// do not matter here.
    fn read_pax(&mut self, bytes: &[u8]) -> Result<(), TarballError> {
        for record in tar::PaxExtensions::new(bytes) {
            let record = record.map_err(tar_error)?;
            let key = String::from_utf8_lossy(record.key_bytes()).into_owned();
            match key.as_str() {
                "path" if self.path.is_none() => self.path = Some(record.value_bytes().to_vec()),
                "size" if self.size.is_none() => {
                    let size = record.value().ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or(TarballError::PaxRecord { key })?);
                }
                "mtime" | "atime" | "ctime" | "uid" | "gid" | "uname" | "gname" | "comment" => {}
                _ => return Err(TarballError::PaxRecord { key }),
            }
        }
        Ok(())
    }
}

/// Behind the end of the tar there are zeros only, and behind the gzip stream nothing.
fn read_rest<R: BufRead>(mut tar: Metered<GzDecoder<Source<R>>>) -> Result<(), TarballError> {
    let mut block = [0; 4096];
    loop {
        let got = tar.read(&mut block).map_err(tar_error)?;
        if got == 0 {
            break;
        }
        if block[..got].iter().any(|byte| *byte != 0) {
            return Err(TarballError::DataAfterTar);
        }
    }
    let mut source = tar.into_inner().into_inner();
    match source.fill_buf().map_err(tar_error)? {
        [] => Ok(()),
        _ => Err(TarballError::DataAfterGzip),
    }
}

fn tar_error(error: io::Error) -> TarballError {
    TarballError::Tar { why: error.to_string() }
}

#[cfg(test)]
mod tests;
