//! Many versions at once, for whoever builds large records to test or to measure with.

use super::{Change, NewVersion, Outcome, Record, RecordError, VersionRecord, WriteError, gzip};

impl Record {
    /// Adds versions as one change, which `ops` shows as a publish of the last of them. Each must be new.
    ///
    /// # Errors
    /// As [`Record::insert_version`].
    pub fn insert_versions(&mut self, new: &[NewVersion<'_>], change: &Change) -> Result<Outcome, WriteError> {
        let Some((last, earlier)) = new.split_last() else { return Ok(Outcome::Unchanged) };
        let mut changed = self.clone();
        let mut index = self.index()?.clone();
        let mut kept = Vec::new();
        for NewVersion { release, cksum, size, blob } in earlier {
            index.insert(&release.entry(*cksum, change.at)).map_err(RecordError::from)?;
            let (publisher, at) = (change.actor.clone(), change.at);
            let version = release.version().clone();
            kept.push(VersionRecord::new(version, blob.clone(), *size, publisher, at));
        }
        changed.versions.push_all(kept);
        let gzip = gzip::deflate(index.as_bytes());
        changed.set_index(index, gzip);
        let outcome = changed.insert_version(last, change)?;
        assert_eq!(outcome, Outcome::Changed, "each version is new");
        *self = changed;
        Ok(outcome)
    }
}
