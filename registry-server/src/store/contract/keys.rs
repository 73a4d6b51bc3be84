//! Every kind of key can be written, read, listed and recognised again.

use super::{Connections, bytes, read, stored};
use crate::store::{AuditKey, Cond, Key, Prefix, Sha256Digest, list_all};

/// One key of every kind, and the awkward ones of each.
pub fn every_kind() -> anyhow::Result<Vec<(Key, Option<Prefix>)>> {
    let digest = Sha256Digest::of(b"content");
    let attempt = crate::store::Ulid::from_parts(1_700_000_000_000, 42);
    let op = &digest.to_string()[..32];
    let audit = Key::Audit(AuditKey::new(jiff::Timestamp::UNIX_EPOCH, op)?);
    let mut all = vec![
        (Key::Format, None),
        (Key::Token(digest), Some(Prefix::Tokens)),
        (audit, Some(Prefix::Audits)),
        (Key::GcPlan(attempt), Some(Prefix::GcPlans)),
    ];
    for name in ["a", "serde", "foo_bar", &"n".repeat(64)] {
        let krate = Key::krate(name)?;
        let Key::Crate(canonical) = krate.clone() else { anyhow::bail!("not a crate's key") };
        all.push((krate, Some(Prefix::Crates)));
        for version in ["1.0.0", "0.1.0-alpha.1", "1.0.0+build.5", "1.0.0-RC.1+20260101-x", "10.20.30"] {
            let key = Key::blob(name, &version.parse()?, digest, attempt)?;
            all.push((key, Some(Prefix::Blobs(canonical.clone()))));
        }
    }
    Ok(all)
}

pub(super) async fn every_kind_of_key_comes_back(c: Connections) -> anyhow::Result<()> {
    for (key, prefix) in every_kind()? {
        let body = bytes(&key.to_string(), 300);
        let etag = stored(c.at(0).put(&key, body.clone().into(), Cond::Any).await)?;
        anyhow::ensure!(read(&**c.at(1), &key).await? == (etag.clone(), body), "`{key}` came back changed");
        let Some(prefix) = prefix else { continue };
        let found = list_all(&**c.at(1), &prefix).await?.into_iter().find(|entry| entry.key == key);
        let found = found.ok_or_else(|| anyhow::anyhow!("`{key}` is not in the listing of `{prefix}`"))?;
        anyhow::ensure!(found.etag == etag && found.len == 300, "`{key}` is listed as {found:?}, but has {etag:?}");
    }
    Ok(())
}
