//! Why a `.crate` file is refused.

use std::io;

/// Why a `.crate` file is refused. All but [`TarballError::Io`] are about the upload.
#[derive(Debug, thiserror::Error)]
pub enum TarballError {
    /// Reading the upload back failed; not the publisher's fault.
    #[error("reading the uploaded crate failed: {0}")]
    Io(#[source] io::Error),
    /// Not gzip, or damaged.
    #[error("the crate is not a sound gzip file ({why}): pack it again with `cargo package`")]
    Gzip {
        /// What the decoder says.
        why: String,
    },
    /// Not tar, or damaged.
    #[error("the crate is not a sound tar archive ({why}): pack it again with `cargo package`")]
    Tar {
        /// What the reader says.
        why: String,
    },
    /// A file ends before its size.
    #[error("`{path}` in the crate has {got} bytes instead of {size}: the archive is cut short")]
    CutShort {
        /// Which.
        path: String,
        /// Bytes there are.
        got: u64,
        /// Bytes that the header tells.
        size: u64,
    },
    /// Something other than zeros behind the end mark.
    #[error("the crate has data behind the end of its tar archive: pack it again with `cargo package`")]
    DataAfterTar,
    /// Something behind the gzip stream, such as a second one.
    #[error("the crate has data behind the end of its gzip stream: pack it again with `cargo package`")]
    DataAfterGzip,

    /// More than the registry's limit.
    #[error(
        "the crate unpacks to more than {limit} bytes, which is this registry's limit: leave files out with \
             `package.exclude`, or ask the registry's operators to raise `limits.unpacked_bytes_max`"
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Unpacks to many times its size.
    #[error(
        "the crate has {krate_bytes} bytes and unpacks to more than {ratio} times that, as archives do that are made to \
             do harm: leave large repetitive files out with `package.exclude`"
    )]
    Ratio {
        /// Size of the `.crate`, in bytes.
        krate_bytes: u64,
        /// The limit.
        ratio: u64,
    },
    /// More than Cargo itself would unpack.
    #[error(
        "the crate has {krate_bytes} bytes and unpacks to more than 512 MiB and more than twenty times that: Cargo would \
             refuse to unpack it; leave files out with `package.exclude`"
    )]
    CargoLimit {
        /// Size of the `.crate`, in bytes.
        krate_bytes: u64,
    },
    /// Too many files and folders.
    #[error(
        "the crate has more than {limit} files: leave some out with `package.exclude`, or ask the registry's operators to \
             raise `limits.entries_max`"
    )]
    TooManyEntries {
        /// The limit.
        limit: u32,
    },
    /// All paths together are too long to check.
    #[error(
        "the paths of the files and folders in the crate are longer than {limit} bytes together, where each counts {each} \
             bytes more than it has: leave files out with `package.exclude`"
    )]
    TooManyPaths {
        /// The limit, in bytes.
        limit: usize,
        /// What each path counts beside its length.
        each: usize,
    },

    /// A symbolic or hard link.
    #[error("`{path}` in the crate is a link: only files and folders are allowed; replace it by a copy")]
    Link {
        /// Which.
        path: String,
    },
    /// A device, a pipe, a sparse file, a global header...
    #[error("`{path}` in the crate is of the kind {kind}: only files and folders are allowed")]
    Kind {
        /// Which.
        path: String,
        /// What.
        kind: String,
    },
    /// A folder that holds bytes.
    #[error("the folder `{path}` in the crate has contents of its own: pack it again with `cargo package`")]
    DirectoryWithData {
        /// Which.
        path: String,
    },
    /// Starts with `/`.
    #[error("the path `{path}` in the crate is absolute: all files must lie in the crate's own folder")]
    Absolute {
        /// Which.
        path: String,
    },
    /// Has an empty part, `.` or `..`.
    #[error("the path `{path}` in the crate has a part that is empty, `.` or `..`")]
    PathPart {
        /// Which.
        path: String,
    },
    /// Not below `{name}-{version}/`.
    #[error(
        "the path `{path}` in the crate is not inside `{top}/`, where all files of this crate and version must lie"
    )]
    OutsideTop {
        /// Which.
        path: String,
        /// The folder.
        top: String,
    },
    /// A character that some file system forbids.
    #[error(
        "the path `{path}` in the crate has the character {char:?}, which not every file system can store: rename it"
    )]
    PathChar {
        /// Which.
        path: String,
        /// The first offending character.
        char: char,
    },
    /// Not Unicode.
    #[error("the path `{path}` in the crate is not UTF-8: rename it")]
    PathNotUtf8 {
        /// Which.
        path: String,
    },
    /// Too long.
    #[error("the path `{path}…` in the crate has {bytes} bytes: at most {limit} are allowed")]
    PathTooLong {
        /// Its beginning.
        path: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many folders in one another.
    #[error("the path `{path}` in the crate has more than {limit} folders in one another")]
    PathTooDeep {
        /// Its beginning.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// Two entries for one path, perhaps in upper and lower case, or a file where there is a folder.
    #[error(
        "`{path}` in the crate would overwrite `{first}`, at least where file names ignore case (Windows, macOS): \
             rename or exclude one of them"
    )]
    Duplicate {
        /// The second.
        path: String,
        /// The first.
        first: String,
    },
    /// Cargo's own mark of a finished unpacking.
    #[error("the crate has a file `.cargo-ok`, by which Cargo marks what it has unpacked: exclude it")]
    CargoOk,

    /// A pax `size` that contradicts the header, so that two readers see two archives.
    #[error("`{path}` in the crate has two different sizes: pack it again with `cargo package`")]
    PaxSize {
        /// Which.
        path: String,
    },
    /// A pax record that changes what a file is.
    #[error("the crate has the pax record `{key}`, which is not allowed here: pack it again with `cargo package`")]
    PaxRecord {
        /// Which.
        key: String,
    },
    /// An extension header that is too large.
    #[error("the crate has an extension header of {bytes} bytes: at most {limit} are allowed")]
    ExtensionTooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },

    /// None.
    #[error("the crate has no `{top}/Cargo.toml`: pack it again with `cargo package`")]
    NoManifest {
        /// The folder.
        top: String,
    },
    /// Two that differ in case.
    #[error("the crate has two manifests, `{first}` and `{second}`: exactly one `Cargo.toml` is allowed")]
    TwoManifests {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// `cargo.toml`, `CARGO.TOML`.
    #[error("the manifest of the crate is called `{path}`: it must be spelled `Cargo.toml`")]
    ManifestCase {
        /// Its path.
        path: String,
    },
    /// Too long.
    #[error("the packed Cargo.toml has {bytes} bytes: at most {limit} are allowed")]
    ManifestTooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Not text.
    #[error("the packed Cargo.toml is not UTF-8")]
    ManifestNotUtf8,
}
