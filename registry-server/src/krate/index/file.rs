//! An index file as a whole: parse it, append a line, turn a `yanked` flag, and leave every other byte alone.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::IndexEntry;
use crate::krate::{Cksum, CrateName, Version};

/// The index file of one crate: its bytes, and what they say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexFile {
    bytes: Vec<u8>,
    lines: Vec<IndexLine>,
    /// Place in `lines` by version without build metadata.
    places: BTreeMap<Version, usize>,
}

/// One line of an index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLine {
    /// `name`.
    pub name: CrateName,
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
            let line = probe(&file.bytes, span, number)?;
            file.check_new(&line.name, &line.vers, number)?;
            file.push(line);
        }
        Ok(file)
    }

    /// A line that is to come after the present ones fits them.
    fn check_new(&self, name: &CrateName, vers: &Version, number: usize) -> Result<(), IndexError> {
        if let Some(first) = self.lines.first().filter(|first| first.name != *name) {
            return Err(IndexError::Name { line: number, name: name.clone(), first: first.name.clone() });
        }
        match self.twin_of(vers) {
            Some(twin) => Err(IndexError::Twin { line: number, vers: vers.clone(), twin: twin.vers.clone() }),
            None => Ok(()),
        }
    }

    fn push(&mut self, line: IndexLine) {
        let before = self.places.insert(line.vers.without_build(), self.lines.len());
        assert_eq!(before, None, "a version is there once");
        self.lines.push(line);
    }

    /// The file, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
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
        self.places.get(&version.without_build()).map(|place| &self.lines[*place])
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The version, or a twin of it, is there already, or the crate is another one.
    pub fn insert(&mut self, entry: &IndexEntry) -> Result<(), IndexError> {
        let number = self.lines.len() + 1;
        self.check_new(&entry.name, &entry.vers, number)?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(entry.to_line().as_bytes());
        let line = probe(&self.bytes, start..self.bytes.len() - 1, number)?;
        assert_eq!((&line.name, &line.vers, line.cksum), (&entry.name, &entry.vers, entry.cksum));
        self.push(line);
        Ok(())
    }

    /// Sets the `yanked` flag of exactly this version and leaves every other byte of the file alone. `None` if there is
    /// no such version, else whether anything changed.
    pub fn set_yanked(&mut self, version: &Version, yanked: bool) -> Option<bool> {
        let line = self.get(version)?;
        let at = self.places[&version.without_build()];
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

/// Reads one line.
fn probe(file: &[u8], span: Range<usize>, number: usize) -> Result<IndexLine, IndexError> {
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
    Ok(IndexLine { name, vers, cksum, yanked: flag, span, yanked_span })
}

/// The strong `ETag` of index lines: the first 128 bits of their SHA-256 in hexadecimal, in quotes. It depends on the
/// lines alone, so it is the same on every replica and does not change when only owners do.
#[must_use]
pub fn etag(lines: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(lines)[..16]))
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
