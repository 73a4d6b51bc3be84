//! What is not a crate: the format, the head, tokens, and keys that are not ours.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::{Code, Findings, Fix, Fsck, Report, SETTLED};
use crate::access::TokenRecord;
use crate::access::record::TOKEN_RECORD_BYTES_MAX;
use crate::maintenance::survey::{self, READS_AT_ONCE, Reading};
use crate::registry::{RegistryError, audit};
use crate::replicas::head::{HEAD_BYTES_MAX, Head};
use crate::store::{Entry, Key, Prefix, StoreError};

impl Fsck<'_> {
    /// The head is read before the records that it speaks of, which can only be newer then.
    pub(super) async fn check_head(&self) -> Result<Findings, RegistryError> {
        self.progress.enter("reading the head");
        let mut found = Findings::default();
        let head = match survey::read(&*self.store, &Key::Head, HEAD_BYTES_MAX).await? {
            Reading::Missing => return Ok(found),
            Reading::Broken { why, .. } => Err(why),
            Reading::Sound(stored) => Head::parse(&stored.bytes),
        };
        let head = match head {
            Ok(head) => head,
            Err(why) => {
                found.add(Code::HeadUnreadable, &Key::Head, why);
                return Ok(found);
            }
        };
        let mut announced: BTreeMap<Key, u64> = BTreeMap::new();
        for change in &head.ring {
            if let Some(key) = change.key() {
                let rev = announced.entry(key).or_default();
                *rev = change.rev.max(*rev);
            }
        }
        for (key, rev) in announced {
            let Key::Crate(krate) = &key else { continue };
            let fix = Fix::CatchUp { krate: krate.clone(), announced: rev };
            let (stands, marked, fix) = match survey::record(&*self.store, krate).await? {
                Reading::Sound(record) => (record.rev(), record.mark().is_some(), Some(fix)),
                Reading::Missing => (0, false, None),
                // Said elsewhere.
                Reading::Broken { .. } => continue,
            };
            if rev > stands && !marked {
                let what = format!("the head announces rev {rev}, the record has {stands}, and nobody is writing it");
                found.add_fixable(Code::HeadAhead, &key, what, fix);
            }
        }
        Ok(found)
    }

    pub(super) async fn check_tokens(&self) -> Result<Findings, RegistryError> {
        self.progress.enter("checking tokens");
        let mut found = Findings::default();
        let checks = survey::entries(self.store.clone(), Prefix::Tokens).map_ok(|entry| self.check_token(entry));
        let mut checks = std::pin::pin!(checks.try_buffered(READS_AT_ONCE));
        while let Some(findings) = checks.try_next().await? {
            found.take_over(findings);
        }
        Ok(found)
    }

    async fn check_token(&self, entry: Entry) -> Result<Findings, StoreError> {
        let mut found = Findings::default();
        let key = entry.key;
        let token = match survey::read(&*self.store, &key, TOKEN_RECORD_BYTES_MAX as u64).await? {
            Reading::Missing => return Ok(found),
            Reading::Broken { why, .. } => Err(why),
            Reading::Sound(stored) => TokenRecord::parse(&stored.bytes).map_err(|error| error.to_string()),
        };
        let token = match token {
            Ok(token) => token,
            Err(why) => {
                found.add(Code::TokenUnreadable, &key, why);
                return Ok(found);
            }
        };
        // One that was never made reads as missing, mark or not.
        if token.rev == 0 {
            return Ok(found);
        }
        found.counts.tokens = 1;
        if let Some(mark) = &token.mark
            && self.is_older(entry.modified, SETTLED)
        {
            let fix = Fix::ClearMark(key.clone(), mark.clone());
            found.add_fixable(Code::DeadMark, &key, "a writer marked this token and died", Some(fix));
        }
        for done in &token.ops {
            if self.audited.contains(done.op.as_str()) || !self.is_older(done.at, SETTLED) {
                continue;
            }
            let Some(entry) = audit::of_token(&key, &token, done) else { continue };
            let what = format!("the change to rev {} of a token of `{}` is not in the audit log", done.rev, token.user);
            let audit_key = entry.key.clone();
            found.add_fixable(Code::AuditMissing, &audit_key, what, Some(Fix::WriteAudit(entry)));
        }
        Ok(found)
    }

    pub(super) async fn count_foreign(&self, report: &mut Report) -> Result<(), RegistryError> {
        self.progress.enter("looking for keys that are not ours");
        let mut after = None;
        loop {
            let page = self.store.list(&Prefix::Everything, after.as_ref()).await?;
            report.add_foreign(page.foreign);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
