//! Many versions at once, for whoever builds large records to test or to measure with.

use std::sync::OnceLock;

use serde_json::Map;

use super::{Change, NewVersion, Outcome, Record, RecordError, VersionRecord, WriteError};

impl Record {
    /// Adds versions as one change, which `ops` shows as a publish of the last of them. Each must be new.
    ///
    /// # Errors
    /// As [`Record::insert_version`].
    pub fn insert_versions(&mut self, new: &[NewVersion<'_>], change: &Change) -> Result<Outcome, WriteError> {
        let Some((last, earlier)) = new.split_last() else { return Ok(Outcome::Unchanged) };
        let mut changed = self.clone();
        let mut index = self.index()?.clone();
        for NewVersion { release, cksum, size, blob } in earlier {
            index.insert(&release.entry(*cksum, change.at)).map_err(RecordError::from)?;
            let (publisher, at) = (change.actor.clone(), change.at);
            let kept = VersionRecord { blob: blob.clone(), size: *size, publisher, at, extra: Map::new() };
            changed.header.versions.insert(release.version().clone(), kept);
        }
        changed.index = OnceLock::from(index);
        let outcome = changed.insert_version(last, change)?;
        assert_eq!(outcome, Outcome::Changed, "each version is new");
        *self = changed;
        Ok(outcome)
    }
}
