//! The stored form: a file that is never changed, and `v1/catalog/current`, which says which file counts.
//!
//! A file is gzip: one line of JSON that says what it is, then a line per crate in the order of their names; `zcat` reads it. Whoever finds a
//! catalog missing, damaged, of another registry or of another format goes without it, and reads the crate records.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::base::Base;
use super::follow::Position;
use super::row::Row;
use super::table::Snapshot;
use crate::krate::record::OpId;
use crate::store::{CatalogFile, Key};

/// A file is not read beyond this, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// What a file may inflate to, in bytes: more than ten million crates.
const INFLATED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// `v1/catalog/current` is not read beyond this, in bytes.
pub const CURRENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A file that does not count is kept for so long: whoever reads or is about to name it has long finished or given up.
pub const KEPT_FOR: Duration = Duration::from_secs(48 * 60 * 60);
const FORMAT: u32 = 1;

/// Which file counts. Replaced by compare-and-swap; `seq` only grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Identity of the write that made this state: it stands first and is random, so that no two states have the same bytes.
    pub op: OpId,
    format: u32,
    /// The registry's id, from `v1/meta/format`: a restored bucket has another.
    pub registry: String,
    /// The number of the file.
    pub seq: u64,
    /// Its key.
    file: String,
    /// The key of the file that counted before, which somebody may still be reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// How far the changes of the head are in it.
    pub covers: Position,
    /// Crates that have to be read again all the same, each with the `rev` that was announced: a write was under way on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<(String, u64)>,
    /// Fields of a later version.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    registry: String,
    crates: usize,
}

impl Current {
    /// The state after `before`, which names `file`.
    #[must_use]
    pub fn new(
        op: OpId,
        registry: &str,
        file: CatalogFile,
        before: Option<&Self>,
        covers: Position,
        open: Vec<(String, u64)>,
    ) -> Self {
        Self {
            op,
            format: FORMAT,
            registry: registry.to_owned(),
            seq: file.seq,
            file: Key::Catalog(file).to_string(),
            previous: before.map(|before| before.file.clone()),
            covers,
            open,
            extra: Map::new(),
        }
    }

    /// The file, if this version knows such keys.
    #[must_use]
    pub fn file(&self) -> Option<CatalogFile> {
        match Key::parse(&self.file) {
            Some(Key::Catalog(file)) if file.seq == self.seq => Some(file),
            _ => None,
        }
    }

    /// Reads a stored state.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let current: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match current.format {
            FORMAT if current.file().is_none() => Err(format!("`{}` is not the key of its file", current.file)),
            FORMAT => Ok(current),
            other => Err(format!("it has format {other}, and this program knows format {FORMAT} only")),
        }
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = serde_json::to_vec(self).expect("the state has string keys only");
        bytes.push(b'\n');
        bytes.into()
    }
}

/// Whether a catalog file may be deleted: it does not count, nor did it before the one that does, and it is older than [`KEPT_FOR`] by the store's own
/// clock. `current` is `v1/catalog/current` as it was read after the files were listed; without it nothing may go.
#[must_use]
pub fn is_surplus(file: CatalogFile, age: Duration, current: &Current) -> bool {
    let key = Key::Catalog(file).to_string();
    age > KEPT_FOR && key != current.file && Some(&key) != current.previous.as_ref()
}

/// A file of all rows. Takes about a second per 100,000 crates.
///
/// # Errors
/// None that a writer to memory makes.
pub fn encode(registry: &str, snapshot: &Snapshot) -> std::io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let header = Header { format: FORMAT, registry: registry.to_owned(), crates: snapshot.len() };
    serde_json::to_writer(&mut gzip, &header)?;
    gzip.write_all(b"\n")?;
    for row in snapshot.rows() {
        gzip.write_all(&row.to_line())?;
    }
    Ok(gzip.finish()?.into())
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it; above all that it is another registry's.
pub fn decode(file: &[u8], registry: &str) -> Result<Base, String> {
    let mut lines = BufReader::new(GzDecoder::new(file).take(INFLATED_BYTES_MAX));
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    let header: Header = serde_json::from_slice(&line).map_err(|error| format!("its first line: {error}"))?;
    if header.format != FORMAT {
        return Err(format!("it has format {}, and this program knows format {FORMAT} only", header.format));
    }
    if header.registry != registry {
        return Err(format!("it belongs to the registry {}", header.registry));
    }
    // Rows go into the base as they are read; the first that is wrong ends it.
    let mut problem = None;
    let mut before: Option<Row> = None;
    let rows = std::iter::from_fn(|| match next_row(&mut lines, &mut line, before.as_ref()) {
        Ok(row) => {
            before.clone_from(&row);
            row
        }
        Err(error) => {
            problem = Some(error);
            None
        }
    });
    let base = Base::build(rows);
    match problem {
        Some(problem) => Err(format!("after {} crates: {problem}", base.len())),
        None if base.len() != header.crates => Err(format!("it has {} of {} crates", base.len(), header.crates)),
        None => Ok(base),
    }
}

fn next_row(lines: &mut impl BufRead, line: &mut Vec<u8>, before: Option<&Row>) -> Result<Option<Row>, String> {
    line.clear();
    if lines.read_until(b'\n', line).map_err(|error| error.to_string())? == 0 {
        return Ok(None);
    }
    let row = Row::parse(line)?;
    if before.is_some_and(|before| before.canonical() >= row.canonical()) {
        return Err(format!("`{}` is not in order", row.name));
    }
    Ok(Some(row))
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::super::table::Table;
    use super::*;
    use crate::store::Ulid;

    fn op(digit: u8) -> OpId {
        format!("{digit:032x}").parse().expect("digits")
    }

    fn file(seq: u64) -> CatalogFile {
        CatalogFile { seq, attempt: Ulid::from(u128::from(seq)) }
    }

    fn snapshot() -> Snapshot {
        let mut table = Table::default();
        [row("b", "about", &["k"], &[]), row("A-c", "", &[], &[])].into_iter().for_each(|row| table.put(row));
        table.snapshot()
    }

    #[test]
    fn a_file_comes_back() {
        let snapshot = snapshot();
        let bytes = encode("r", &snapshot).expect("memory");
        let base = decode(&bytes, "r").expect("readable");
        let rows: Vec<_> = (0..base.len()).map(|index| base.row(index)).collect();
        assert_eq!(rows, snapshot.rows().collect::<Vec<_>>());
        assert_eq!(rows[0].name.as_str(), "A-c");
    }

    #[test]
    fn a_file_of_another_registry_and_a_damaged_one_are_refused() {
        let bytes = encode("r", &snapshot()).expect("memory");
        assert!(decode(&bytes, "other").expect_err("foreign").contains("belongs to the registry r"));
        for cut in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            assert!(decode(&bytes[..cut], "r").is_err(), "cut at {cut}");
        }
        let mut flipped = bytes.to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        assert!(decode(&flipped, "r").is_err());
    }

    #[test]
    fn the_stored_form_of_current() {
        let position = Position { seq: 9, op: Some(op(2)) };
        let first = Current::new(op(1), "r", file(3), None, position.clone(), vec![("a".into(), 4)]);
        let expected = format!(
            "{{\"op\":\"{}\",\"format\":1,\"registry\":\"r\",\"seq\":3,\"file\":\"v1/catalog/00000000000000000003-{}\",\
             \"covers\":{{\"seq\":9,\"op\":\"{}\"}},\"open\":[[\"a\",4]]}}\n",
            op(1),
            file(3).attempt,
            op(2)
        );
        assert_eq!(String::from_utf8(first.to_bytes().to_vec()).expect("text"), expected);
        assert_eq!(Current::parse(expected.as_bytes()), Ok(first.clone()));
        assert!(Current::parse(expected.replace("\"format\":1", "\"format\":2").as_bytes()).is_err());
        assert!(Current::parse(expected.replace("\"seq\":3", "\"seq\":4").as_bytes()).is_err());
    }

    #[test]
    fn only_old_files_that_do_not_count_are_surplus() {
        let old = KEPT_FOR + Duration::from_secs(1);
        let first = Current::new(op(1), "r", file(3), None, Position::default(), Vec::new());
        let second = Current::new(op(2), "r", file(4), Some(&first), Position::default(), Vec::new());
        let surplus: Vec<_> = (2..=5).map(|seq| is_surplus(file(seq), old, &second)).collect();
        assert_eq!(surplus, [true, false, false, true]);
        assert!(!is_surplus(file(2), KEPT_FOR, &second));
        let loser = CatalogFile { attempt: Ulid::from(99), ..file(4) };
        assert!(is_surplus(loser, old, &second));
    }
}
