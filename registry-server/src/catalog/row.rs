//! One crate in the catalog, and its stored form: one line of JSON, a list whose places have a meaning, because a field's name 150,000 times
//! over is most of a file.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::krate::{Canonical, CrateName, Owner, Record};
use crate::store::Etag;

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Line", into = "Line")]
pub struct Row {
    /// As its author spells it.
    pub name: CrateName,
    /// The `rev` of the record that this was read from.
    pub rev: u64,
    /// The `ETag` of that record: a listing tells whether it has changed.
    pub etag: Etag,
    /// Its owners. Today nobody needs them to read a crate; a decision that does finds them here.
    pub owners: Vec<Owner>,
    /// The version to show.
    pub max_version: String,
    /// `package.description`.
    pub description: Option<String>,
    /// `package.keywords`.
    pub keywords: Vec<String>,
    /// `package.categories`.
    pub categories: Vec<String>,
    /// The time of its last change, in whole seconds.
    pub updated_at: Timestamp,
}

type Line = (CrateName, u64, String, Vec<Owner>, String, Option<String>, Vec<String>, Vec<String>, i64);

impl From<Line> for Row {
    fn from(line: Line) -> Self {
        let (name, rev, etag, owners, max_version, description, keywords, categories, updated_at) = line;
        let updated_at = Timestamp::from_second(updated_at).unwrap_or_default();
        Self { name, rev, etag: Etag::new(&etag), owners, max_version, description, keywords, categories, updated_at }
    }
}

impl From<Row> for Line {
    fn from(row: Row) -> Self {
        let Row { name, rev, etag, owners, max_version, description, keywords, categories, updated_at } = row;
        let (etag, updated_at) = (etag.to_string(), updated_at.as_second());
        (name, rev, etag, owners, max_version, description, keywords, categories, updated_at)
    }
}

impl Row {
    /// The row of a record that lies in the store under this `ETag`. `None` if readers see no crate there.
    #[must_use]
    pub fn of(record: &Record, etag: &Etag) -> Option<Self> {
        let max_version = record.max_version().filter(|_| record.is_visible())?.to_string();
        let about = record.about();
        let updated_at = record.ops().last().map(|op| op.at).unwrap_or_default();
        Some(Self {
            name: record.name().clone(),
            rev: record.rev(),
            etag: etag.clone(),
            owners: record.owners().iter().cloned().collect(),
            max_version,
            description: about.description.clone(),
            keywords: about.keywords.clone(),
            categories: about.categories.clone(),
            updated_at: Timestamp::from_second(updated_at.as_second()).unwrap_or_default(),
        })
    }

    /// The key form of its name: what rows are told apart and ordered by.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        self.name.canonical()
    }

    /// The stored form, with the end of the line.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("texts and numbers always serialize");
        line.push(b'\n');
        line
    }

    /// Reads a stored line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::catalog) fn row(name: &str, description: &str, keywords: &[&str], categories: &[&str]) -> Row {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Row {
            name: CrateName::parse(name).expect("a name"),
            rev: 7,
            etag: Etag::new("e7"),
            owners: vec![Owner::parse("ann").expect("a login")],
            max_version: "1.0.0".to_owned(),
            description: (!description.is_empty()).then(|| description.to_owned()),
            keywords: texts(keywords),
            categories: texts(categories),
            updated_at: Timestamp::from_second(1_700_000_000).expect("a time"),
        }
    }

    #[test]
    fn the_stored_form() {
        let row = row("Foo-Bar", "says \"hi\"\n", &["k"], &["c::d"]);
        let line = String::from_utf8(row.to_line()).expect("text");
        let expected =
            r#"["Foo-Bar",7,"e7",["ann"],"1.0.0","says \"hi\"\n",["k"],["c::d"],1700000000]"#.to_owned() + "\n";
        assert_eq!(line, expected);
        assert_eq!(Row::parse(line.as_bytes()), Ok(row));
        assert!(Row::parse(b"[\"a b\"]").is_err());
    }
}
