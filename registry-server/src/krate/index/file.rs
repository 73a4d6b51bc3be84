//! An index file as a whole: parse it, append a line, turn a `yanked` flag, and leave every other byte alone.

use std::ops::Range;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::IndexEntry;
use crate::krate::{Cksum, CrateName, Version};

/// The index file of one crate: its bytes, and what they say.
#[derive(Debug, Clone, Default)]
pub struct IndexFile {
    bytes: Vec<u8>,
    /// Of all lines; none without lines.
    name: Option<CrateName>,
    lines: Vec<IndexLine>,
    /// Places in `lines`, ordered by the versions there; build metadata do not count.
    by_version: Vec<usize>,
    /// What has hashed `bytes`, once somebody asked: the hash of a file of a megabyte that grows by one line costs that line.
    hashed: OnceLock<Sha256>,
}

impl PartialEq for IndexFile {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for IndexFile {}

/// One line of an index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLine {
    /// `vers`.
    pub vers: Version,
    /// `cksum`.
    pub cksum: Cksum,
    /// `yanked`; absent and `null` mean false.
    pub yanked: bool,
    /// Where the line lies in the file, without its newline.
    span: Range<usize>,
    /// Where the value of `yanked` lies in the file; `None` if the field is missing.
    yanked_span: Option<Range<usize>>,
}

/// What this program must know of a line; all else is kept unread.
#[derive(Deserialize)]
struct Probe<'a> {
    name: CrateName,
    vers: Version,
    cksum: Cksum,
    #[serde(borrow, default, deserialize_with = "raw")]
    yanked: Option<&'a RawValue>,
}

/// Keeps `null` apart from "missing".
fn raw<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl IndexFile {
    /// Reads an index file. Fields that Cargo does not know are left alone.
    ///
    /// # Errors
    /// [`IndexError`] names the line and what is wrong with it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, IndexError> {
        let mut file = Self { bytes, ..Self::default() };
        let mut start = 0;
        while start < file.bytes.len() {
            let number = file.lines.len() + 1;
            let Some(length) = file.bytes[start..].iter().position(|byte| *byte == b'\n') else {
                return Err(IndexError::NoNewline { line: number });
            };
            let span = start..start + length;
            start = span.end + 1;
            let (name, line) = probe(&file.bytes, span, number)?;
            file.check_name(&name, number)?;
            file.name.get_or_insert(name);
            file.lines.push(line);
        }
        file.by_version = (0..file.lines.len()).collect();
        file.by_version.sort_by(|one, other| file.lines[*one].vers.cmp_without_build(&file.lines[*other].vers));
        // The sort is stable, so of each pair the second one stands later in the file.
        let pairs = file.by_version.array_windows().map(|[one, other]| (&file.lines[*one].vers, *other));
        match pairs.filter(|(twin, at)| twin.is_twin_of(&file.lines[*at].vers)).min_by_key(|(_, at)| *at) {
            Some((twin, at)) => {
                Err(IndexError::Twin { line: at + 1, vers: file.lines[at].vers.clone(), twin: twin.clone() })
            }
            None => Ok(file),
        }
    }

    /// A line that is to come after the present ones is of the same crate.
    fn check_name(&self, name: &CrateName, number: usize) -> Result<(), IndexError> {
        match self.name.as_ref().filter(|first| *first != name) {
            Some(first) => Err(IndexError::Name { line: number, name: name.clone(), first: first.clone() }),
            None => Ok(()),
        }
    }

    /// Where a version, or a twin of it, stands in `by_version`, or would.
    fn place(&self, version: &Version) -> Result<usize, usize> {
        self.by_version.binary_search_by(|at| self.lines[*at].vers.cmp_without_build(version))
    }

    /// The file, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The crate that the lines are of; none without lines.
    #[must_use]
    pub fn name(&self) -> Option<&CrateName> {
        self.name.as_ref()
    }

    /// The strong `ETag` of the file: the first 128 bits of the SHA-256 of its lines in hexadecimal, in quotes. It depends on the
    /// lines alone, so it is the same on every replica and does not change when only owners do.
    #[must_use]
    pub fn etag(&self) -> String {
        let hashed = self.hashed.get_or_init(|| Sha256::new_with_prefix(&self.bytes));
        etag_of(hashed.clone().finalize().into())
    }

    /// The lines in the order of the file, which is the order of publishing.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &IndexLine> {
        self.lines.iter()
    }

    /// The bytes of one of its lines, without the newline.
    #[must_use]
    pub fn line_bytes(&self, line: &IndexLine) -> &[u8] {
        &self.bytes[line.span.clone()]
    }

    /// The line of exactly this version.
    #[must_use]
    pub fn get(&self, version: &Version) -> Option<&IndexLine> {
        self.twin_of(version).filter(|line| line.vers == *version)
    }

    /// The line of this version, or of one that differs in build metadata only. There is at most one.
    #[must_use]
    pub fn twin_of(&self, version: &Version) -> Option<&IndexLine> {
        self.place(version).ok().map(|place| &self.lines[self.by_version[place]])
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The version, or a twin of it, is there already, or the crate is another one.
    pub fn insert(&mut self, entry: &IndexEntry) -> Result<(), IndexError> {
        let number = self.lines.len() + 1;
        self.check_name(&entry.name, number)?;
        let place = match self.place(&entry.vers) {
            Err(place) => place,
            Ok(place) => {
                let twin = self.lines[self.by_version[place]].vers.clone();
                return Err(IndexError::Twin { line: number, vers: entry.vers.clone(), twin });
            }
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(entry.to_line().as_bytes());
        if let Some(hashed) = self.hashed.get_mut() {
            hashed.update(&self.bytes[start..]);
        }
        let (name, line) = probe(&self.bytes, start..self.bytes.len() - 1, number)?;
        assert_eq!((&name, &line.vers, line.cksum), (&entry.name, &entry.vers, entry.cksum));
        self.name.get_or_insert(name);
        self.by_version.insert(place, self.lines.len());
        self.lines.push(line);
        Ok(())
    }

    /// Sets the `yanked` flag of exactly this version and leaves every other byte of the file alone. `None` if there is
    /// no such version, else whether anything changed.
    pub fn set_yanked(&mut self, version: &Version, yanked: bool) -> Option<bool> {
        let at = self.by_version[self.place(version).ok()?];
        let line = Some(&self.lines[at]).filter(|line| line.vers == *version)?;
        if line.yanked == yanked {
            return Some(false);
        }
        let (place, text) = match &line.yanked_span {
            Some(span) => (span.clone(), yanked.to_string()),
            // A line from elsewhere without the field: add it as the last one.
            None => {
                let brace = self.bytes[line.span.clone()].iter().rposition(|byte| *byte == b'}');
                let brace = line.span.start + brace.expect("a line is a JSON object");
                (brace..brace, format!(",\"yanked\":{yanked}"))
            }
        };
        let mut bytes = self.bytes.clone();
        bytes.splice(place, text.bytes());
        let changed = Self::parse(bytes).expect("one flag was changed in a file that is well formed");
        assert!(
            self.lines.iter().zip(&changed.lines).enumerate().all(|(i, (old, new))| {
                (&old.vers, old.cksum, old.yanked != (i == at)) == (&new.vers, new.cksum, new.yanked)
            }),
            "only the flag of line {at} changed"
        );
        *self = changed;
        Some(true)
    }
}

/// Reads one line: its crate, and the rest.
fn probe(file: &[u8], span: Range<usize>, number: usize) -> Result<(CrateName, IndexLine), IndexError> {
    let line = &file[span.clone()];
    let Probe { name, vers, cksum, yanked } =
        serde_json::from_slice(line).map_err(|error| IndexError::Line { line: number, why: error.to_string() })?;
    let flag = match yanked.map_or("null", RawValue::get) {
        "true" => true,
        "false" | "null" => false,
        _ => return Err(IndexError::Line { line: number, why: "`yanked` is not a boolean".to_owned() }),
    };
    let yanked_span = yanked.map(|raw| {
        // The raw value borrows from the line, so the distance of the two is its place.
        let start = raw.get().as_ptr() as usize - file.as_ptr() as usize;
        start..start + raw.get().len()
    });
    debug_assert!(yanked_span.as_ref().is_none_or(|place| span.start < place.start && place.end < span.end));
    Ok((name, IndexLine { vers, cksum, yanked: flag, span, yanked_span }))
}

/// The [`IndexFile::etag`] of lines that need not be read.
#[must_use]
pub fn etag(lines: &[u8]) -> String {
    etag_of(Sha256::digest(lines).into())
}

fn etag_of(sha256: [u8; 32]) -> String {
    format!("\"{}\"", hex::encode(&sha256[..16]))
}

/// Why bytes are not an index file, or a line may not enter it. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The last line is cut off.
    #[error("index line {line} has no newline at its end")]
    NoNewline {
        /// Its number.
        line: usize,
    },
    /// Not a JSON object of this form.
    #[error("index line {line} is not readable: {why}")]
    Line {
        /// Its number.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The line is of another crate.
    #[error("index line {line} is of the crate `{name}`, the first one of `{first}`")]
    Name {
        /// Its number.
        line: usize,
        /// The crate it names.
        name: CrateName,
        /// The crate that the first line names.
        first: CrateName,
    },
    /// The version is there already.
    #[error("index line {line} has the version {vers}, but there is {twin} already")]
    Twin {
        /// Its number.
        line: usize,
        /// Its version.
        vers: Version,
        /// The version that is there.
        twin: Version,
    },
}

#[cfg(test)]
mod tests;
