//! Tarballs made to do harm, one rule each, and those that real Cargos make.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;

const MANIFEST: &[u8] = b"[package]\nname = \"foo\"\nversion = \"1.0.0\"\n";
const LIMITS: TarballLimits = TarballLimits { unpacked_bytes_max: 1024 * 1024, entries_max: 20 };

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn open_with(krate: &[u8], limits: &TarballLimits) -> Result<Unpacked, TarballError> {
    let (name, version) = ("foo".parse().unwrap(), "1.0.0".parse().unwrap());
    Unpacked::open(krate, krate.len() as u64, &name, &version, limits)
}

fn open(krate: &[u8]) -> Result<Unpacked, TarballError> {
    open_with(krate, &LIMITS)
}

/// A header with any bytes as its path, and a right checksum.
fn header(path: &[u8], kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

/// An entry with its data, padded to blocks.
fn entry(path: &[u8], kind: EntryType, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(path, kind, data.len() as u64).as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(path: &str, data: &[u8]) -> Vec<u8> {
    entry(path.as_bytes(), EntryType::Regular, data)
}

fn manifest() -> Vec<u8> {
    file("foo-1.0.0/Cargo.toml", MANIFEST)
}

/// The end of a tar: two blocks of zeros.
const END: [u8; 1024] = [0; 1024];

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = entries.concat();
    tar.extend_from_slice(&END);
    tar
}

/// The manifest and these entries.
fn with(entries: &[Vec<u8>]) -> Result<Unpacked, TarballError> {
    open(&gzip(&tar_of(&[vec![manifest()], entries.to_vec()].concat())))
}

fn refusal(entries: &[Vec<u8>]) -> String {
    with(entries).unwrap_err().to_string()
}

macro_rules! assert_refused {
    ($result:expr, $variant:pat, $text:literal) => {
        let error = $result.unwrap_err();
        assert!(matches!(error, $variant), "{error:?}");
        assert!(error.to_string().contains($text), "{error}");
    };
}

#[test]
fn what_cargo_packs() {
    let mut builder = Builder::new(Vec::new());
    let deep = format!("foo-1.0.0/src/{}/{}.rs", "d".repeat(90), "f".repeat(90));
    for (path, data) in
        [("foo-1.0.0/Cargo.toml", MANIFEST), (deep.as_str(), b"x"), ("foo-1.0.0/.cargo_vcs_info.json", b"{}")]
    {
        let mut header = Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, data).unwrap();
    }
    let krate = gzip(&builder.into_inner().unwrap());
    let unpacked = open(&krate).unwrap();
    let bytes = MANIFEST.len() as u64 + 3;
    assert_eq!(unpacked, Unpacked { manifest: String::from_utf8(MANIFEST.to_vec()).unwrap(), files: 3, bytes });

    let folders = [entry(b"foo-1.0.0/src/", EntryType::Directory, b""), file("foo-1.0.0/src/lib.rs", b"")];
    assert_eq!(with(&folders).unwrap().files, 2);
    assert_eq!(with(&[entry(b"foo-1.0.0", EntryType::Directory, b"")]).unwrap().files, 1);
}

#[test]
fn damaged_archives() {
    let good = gzip(&tar_of(&[manifest(), file("foo-1.0.0/src/lib.rs", &[b'x'; 3000])]));
    assert!(open(&good).is_ok());
    assert_refused!(open(b"PK\x03\x04 not gzip at all"), TarballError::Gzip { .. }, "not a sound gzip file");
    assert_refused!(open(b""), TarballError::Gzip { .. }, "not a sound gzip file");
    for cut in 0..good.len() {
        let error = open(&good[..cut]).unwrap_err();
        assert!(matches!(error, TarballError::Gzip { .. }), "cut at {cut}: {error:?}");
    }
    assert_refused!(open(&gzip(b"no tar")), TarballError::Tar { .. }, "not a sound tar archive");
    assert_refused!(open(&gzip(b"")), TarballError::NoManifest { .. }, "has no `foo-1.0.0/Cargo.toml`");
    let mut wrong_sum = tar_of(&[manifest()]);
    wrong_sum[0] ^= 1;
    assert_refused!(open(&gzip(&wrong_sum)), TarballError::Tar { .. }, "checksum");
}

#[test]
fn files_cut_short() {
    let tar =
        [manifest(), header(b"foo-1.0.0/x", EntryType::Regular, 5000).as_bytes().to_vec(), vec![b'y'; 700]].concat();
    assert_refused!(
        open(&gzip(&tar)),
        TarballError::CutShort { got: 700, size: 5000, .. },
        "700 bytes instead of 5000"
    );
    let cut = header(b"foo-1.0.0/Cargo.toml", EntryType::Regular, 5000).as_bytes().to_vec();
    assert_refused!(open(&gzip(&cut)), TarballError::CutShort { got: 0, .. }, "`Cargo.toml` in the crate has 0 bytes");
}

#[test]
fn nothing_follows_the_end() {
    let tar = tar_of(&[manifest()]);
    assert!(open(&gzip(&[tar.clone(), vec![0; 9216]].concat())).is_ok(), "GNU tar pads to 10 KiB");
    let hidden = [tar.clone(), file("bar-1.0.0/Cargo.toml", b"x"), END.to_vec()].concat();
    assert_refused!(open(&gzip(&hidden)), TarballError::DataAfterTar, "behind the end of its tar");
    let second = [gzip(&tar), gzip(b"x")].concat();
    assert_refused!(open(&second), TarballError::DataAfterGzip, "behind the end of its gzip");
    let garbage = [gzip(&tar), vec![0]].concat();
    assert_refused!(open(&garbage), TarballError::DataAfterGzip, "behind the end of its gzip");
}

#[test]
fn too_much() {
    let big = |bytes: usize| tar_of(&[manifest(), file("foo-1.0.0/big", &vec![0; bytes])]);
    let limits = TarballLimits { unpacked_bytes_max: 100_000, ..LIMITS };
    assert!(open_with(&gzip(&big(90_000)), &limits).is_ok());
    // The files alone are below the limit, the whole tar stream is above.
    for bytes in [99_000, 100_001, 900_000] {
        let result = open_with(&gzip(&big(bytes)), &limits);
        assert_refused!(result, TarballError::TooLarge { limit: 100_000 }, "raise `limits.unpacked_bytes_max`");
    }
    // A size that was never there is refused without reading on.
    let lie = [manifest(), header(b"foo-1.0.0/x", EntryType::Regular, 1 << 40).as_bytes().to_vec()].concat();
    assert_refused!(open(&gzip(&lie)), TarballError::TooLarge { .. }, "which is this registry's limit");
    let padding = [tar_of(&[manifest()]), vec![0; 200_000]].concat();
    assert_refused!(open_with(&gzip(&padding), &limits), TarballError::TooLarge { .. }, "100000 bytes");

    let many: Vec<_> = (0..20).map(|i| file(&format!("foo-1.0.0/{i}"), b"")).collect();
    assert!(with(&many[..19]).is_ok());
    assert_refused!(with(&many), TarballError::TooManyEntries { limit: 20 }, "more than 20 files");
}

#[test]
fn bombs_are_refused_by_their_ratio() {
    let limits = TarballLimits { unpacked_bytes_max: u64::MAX, entries_max: 20 };
    // Refused by what the header announces, before it is unpacked.
    let bomb = [manifest(), header(b"foo-1.0.0/bomb", EntryType::Regular, 80 << 20).as_bytes().to_vec()].concat();
    assert_refused!(open_with(&gzip(&bomb), &limits), TarballError::Ratio { ratio: RATIO_MAX, .. }, "200 times");
    // The rules side by side, without unpacking half a gigabyte.
    let text = |unpacked_bytes_max, krate_bytes| Limit::tightest(unpacked_bytes_max, krate_bytes).refusal().to_string();
    assert!(text(1 << 40, 10 * 1024 * 1024).contains("Cargo would refuse"));
    assert!(text(1 << 20, 10 * 1024 * 1024).contains("this registry's limit"));
    assert!(text(1 << 40, 1000).contains("200 times"));
    assert_eq!(Limit::tightest(1 << 40, 100 * 1024 * 1024).bytes, 2000 * 1024 * 1024);
}

#[test]
fn only_files_and_folders() {
    for (kind, part) in [
        (EntryType::Symlink, "is a link"),
        (EntryType::Link, "is a link"),
        (EntryType::Char, "of the kind Char"),
        (EntryType::Block, "of the kind Block"),
        (EntryType::Fifo, "of the kind Fifo"),
        (EntryType::Continuous, "of the kind Continuous"),
        (EntryType::GNUSparse, "of the kind GNUSparse"),
        (EntryType::GNULongLink, "of the kind GNULongLink"),
        (EntryType::XGlobalHeader, "of the kind XGlobalHeader"),
        (EntryType::new(b'V'), "of the kind"),
    ] {
        let error = refusal(&[entry(b"foo-1.0.0/x", kind, b"")]);
        assert!(error.contains(part) && error.contains("only files and folders"), "{error}");
    }
    let full = entry(b"foo-1.0.0/d/", EntryType::Directory, b"x");
    assert_refused!(with(&[full]), TarballError::DirectoryWithData { .. }, "`foo-1.0.0/d` in the crate has contents");
}

#[test]
fn paths() {
    for (path, part) in [
        (&b"/etc/passwd"[..], "is absolute"),
        (b"//foo-1.0.0/x", "is absolute"),
        (b"foo-1.0.0/../x", "empty, `.` or `..`"),
        (b"foo-1.0.0/..", "empty, `.` or `..`"),
        (b"../foo-1.0.0/x", "empty, `.` or `..`"),
        (b"foo-1.0.0/./x", "empty, `.` or `..`"),
        (b"./foo-1.0.0/x", "empty, `.` or `..`"),
        (b"foo-1.0.0//x", "empty, `.` or `..`"),
        (b"foo-1.0.0/x/", "empty, `.` or `..`"),
        (b"foo-1.0.0", "not inside `foo-1.0.0/`"),
        (b"foo-1.0.1/x", "not inside `foo-1.0.0/`"),
        (b"foo-1.0.0x/y", "not inside `foo-1.0.0/`"),
        (b"Foo-1.0.0/x", "not inside `foo-1.0.0/`"),
        (b"x", "not inside `foo-1.0.0/`"),
        (b"foo-1.0.0/a\\..\\b", "'\\\\'"),
        (b"foo-1.0.0/c:x", "':'"),
        (b"foo-1.0.0/a*", "'*'"),
        (b"foo-1.0.0/a\nb", "'\\n'"),
        (b"foo-1.0.0/a\x1bb", "\\u{1b}"),
        (b"foo-1.0.0/\xff", "not UTF-8"),
        (b"foo-1.0.0/.cargo-ok", "`.cargo-ok`"),
        (b"foo-1.0.0/.Cargo-OK", "`.cargo-ok`"),
    ] {
        let error = refusal(&[entry(path, EntryType::Regular, b"")]);
        assert!(error.contains(part), "{}: {error}", String::from_utf8_lossy(path));
    }
    assert!(with(&[file("foo-1.0.0/src/.cargo-ok", b"")]).is_ok());
    assert_refused!(
        with(&[entry(b"foo-1.0.1/", EntryType::Directory, b"")]),
        TarballError::OutsideTop { .. },
        "where all files of this crate and version must lie"
    );
}

fn long(path: &[u8]) -> Vec<u8> {
    entry(b"././@LongLink", EntryType::GNULongName, &[path, b"\0"].concat())
}

#[test]
fn long_names() {
    let path = |length: usize| format!("foo-1.0.0/{}", "p".repeat(length - 10));
    assert!(with(&[long(path(1024).as_bytes()), file("short", b"x")]).is_ok());
    assert_refused!(
        with(&[long(path(1025).as_bytes()), file("short", b"")]),
        TarballError::PathTooLong { bytes: 1025, limit: 1024, .. },
        "1025 bytes"
    );
    assert_refused!(
        with(&[long(&vec![b'p'; 100_000]), file("short", b"")]),
        TarballError::ExtensionTooLong { bytes: 100_001, .. },
        "100001 bytes"
    );
    // The name in the header does not count, the long one does.
    let hidden = [long(b"foo-1.0.0/../../x"), file("foo-1.0.0/harmless", b"")];
    assert_refused!(with(&hidden), TarballError::PathPart { .. }, "foo-1.0.0/../../x");
    let hidden = [long(b"foo-1.0.0/Cargo.toml"), file("foo-1.0.0/harmless", b"")];
    assert_refused!(with(&hidden), TarballError::TwoManifests { .. }, "two manifests");
    let nul = [long(b"foo-1.0.0/a\0/../../x"), file("short", b"")];
    assert_refused!(with(&nul), TarballError::PathChar { .. }, "\\0");
    assert_refused!(with(&[long(b"a"), long(b"b"), file("x", b"")]), TarballError::Tar { .. }, "doubled");
    assert_refused!(with(&[long(b"foo-1.0.0/x")]), TarballError::Tar { .. }, "describes the next file");
    let deep = format!("foo-1.0.0{}", "/d".repeat(64));
    assert_refused!(with(&[long(deep.as_bytes()), file("x", b"")]), TarballError::PathTooDeep { .. }, "more than 64");
}

/// pax records: length in decimal, counting itself.
fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..).map(|digits| digits + rest.len()).find(|n| n.to_string().len() + rest.len() == *n).unwrap();
        data.push_str(&format!("{length}{rest}"));
    }
    entry(b"PaxHeader", EntryType::XHeader, data.as_bytes())
}

#[test]
fn pax_headers() {
    let harmless = [pax(&[("path", "foo-1.0.0/ünïcode"), ("mtime", "1.5"), ("size", "1")]), file("x", b"y")];
    assert_eq!(with(&harmless).unwrap().files, 2);
    let smaller = [pax(&[("size", "0")]), file("foo-1.0.0/x", &[0; 512])];
    assert_refused!(with(&smaller), TarballError::PaxSize { .. }, "`foo-1.0.0/x` in the crate has two different sizes");
    let larger = [pax(&[("size", "1024")]), file("foo-1.0.0/x", b"")];
    assert_refused!(with(&larger), TarballError::PaxSize { .. }, "two different sizes");
    assert_refused!(
        with(&[pax(&[("size", "no")]), file("foo-1.0.0/x", b"")]),
        TarballError::PaxRecord { .. },
        "`size`"
    );
    for key in ["linkpath", "GNU.sparse.name", "SCHILY.xattr.user.x", "hdrcharset"] {
        let error = refusal(&[pax(&[(key, "foo-1.0.0/x")]), file("foo-1.0.0/x", b"")]);
        assert!(error.contains(&format!("pax record `{key}`")), "{error}");
    }
    let twice = [pax(&[("path", "foo-1.0.0/x"), ("path", "../x")]), file("foo-1.0.0/x", b"")];
    assert_refused!(with(&twice), TarballError::PaxRecord { .. }, "`path`");
    let outside = [pax(&[("path", "../x")]), file("foo-1.0.0/x", b"")];
    assert_refused!(with(&outside), TarballError::PathPart { .. }, "../x");
    let huge = [pax(&[("comment", &"c".repeat(9000))]), file("foo-1.0.0/x", b"")];
    assert_refused!(with(&huge), TarballError::ExtensionTooLong { .. }, "at most 8192");
    let broken = [entry(b"PaxHeader", EntryType::XHeader, b"99 path=x\n"), file("foo-1.0.0/x", b"")];
    assert_refused!(with(&broken), TarballError::Tar { .. }, "pax");
    let both = [long(b"foo-1.0.0/x"), pax(&[("path", "foo-1.0.0/y")]), file("z", b"")];
    assert_refused!(with(&both), TarballError::Tar { .. }, "doubled");
}

#[test]
fn no_two_paths_meet() {
    for (first, second) in [
        ("foo-1.0.0/a", "foo-1.0.0/a"),
        ("foo-1.0.0/README.md", "foo-1.0.0/readme.md"),
        ("foo-1.0.0/Src/a", "foo-1.0.0/src/b"),
        ("foo-1.0.0/a", "foo-1.0.0/a/b"),
        ("foo-1.0.0/a/b", "foo-1.0.0/a"),
        ("foo-1.0.0/ÄB", "foo-1.0.0/äb"),
    ] {
        let error = with(&[file(first, b""), file(second, b"")]).unwrap_err();
        assert!(matches!(error, TarballError::Duplicate { .. }), "{first}, {second}: {error:?}");
        assert!(error.to_string().contains("would overwrite"), "{error}");
    }
    let folder = || entry(b"foo-1.0.0/d/", EntryType::Directory, b"");
    assert!(with(&[file("foo-1.0.0/d/x", b""), folder(), file("foo-1.0.0/d/y", b"")]).is_ok());
    assert_refused!(with(&[folder(), folder()]), TarballError::Duplicate { .. }, "`foo-1.0.0/d`");
}

#[test]
fn exactly_one_manifest() {
    let only = |path: &str| open(&gzip(&tar_of(&[file(path, MANIFEST)])));
    assert_refused!(only("foo-1.0.0/src/Cargo.toml"), TarballError::NoManifest { .. }, "no `foo-1.0.0/Cargo.toml`");
    for wrong in ["foo-1.0.0/cargo.toml", "foo-1.0.0/CARGO.TOML", "foo-1.0.0/Cargo.Toml"] {
        assert_refused!(only(wrong), TarballError::ManifestCase { .. }, "must be spelled `Cargo.toml`");
        assert_refused!(with(&[file(wrong, b"")]), TarballError::TwoManifests { .. }, "has two manifests");
    }
    assert_refused!(with(&[manifest()]), TarballError::TwoManifests { .. }, "exactly one");
    assert!(with(&[file("foo-1.0.0/sub/cargo.toml", b"")]).is_ok());
    let binary = open(&gzip(&tar_of(&[file("foo-1.0.0/Cargo.toml", b"\xff")])));
    assert_refused!(binary, TarballError::ManifestNotUtf8, "not UTF-8");
    let limits = TarballLimits { unpacked_bytes_max: 16 * 1024 * 1024, ..LIMITS };
    let size = usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1;
    let long = open_with(&gzip(&tar_of(&[file("foo-1.0.0/Cargo.toml", &vec![b' '; size])])), &limits);
    assert_refused!(long, TarballError::ManifestTooLong { .. }, "at most 2097152");
}

#[test]
fn paths_cost_bounded_memory() {
    let mut tree = Tree::new("foo-1.0.0".to_owned());
    let mut added = 0_u32;
    let error = loop {
        let path = format!("foo-1.0.0/{added}{}", "/x".repeat(60));
        match tree.add_file(&path) {
            Ok(()) => added += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TarballError::TooManyPaths { .. }), "{error:?}");
    assert!(added > 500, "{added}");

    // Short paths cost their place in the tree.
    let mut tree = Tree::new("foo-1.0.0".to_owned());
    let refused = (0..100_000).find_map(|file| tree.add_file(&format!("foo-1.0.0/{file}")).err());
    let text = refused.expect("100000 places are more than 8 MiB").to_string();
    assert!(text.contains("longer than 8388608 bytes together, where each counts 96"), "{text}");
}

#[test]
fn failures_of_ours_are_told_apart() {
    struct Broken<'a>(&'a [u8]);
    impl io::Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::Error::other("disk on fire")) } else { self.0.read(buffer) }
        }
    }
    let krate = gzip(&tar_of(&[manifest()]));
    for cut in [0, 5, 40, krate.len() - 1, krate.len()] {
        let reader = io::BufReader::with_capacity(7, Broken(&krate[..cut]));
        let result =
            Unpacked::open(reader, krate.len() as u64, &"foo".parse().unwrap(), &"1.0.0".parse().unwrap(), &LIMITS);
        assert_refused!(result, TarballError::Io(_), "disk on fire");
    }
}
