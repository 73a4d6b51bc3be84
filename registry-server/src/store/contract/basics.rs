//! One request after the other.

use std::io::Write as _;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Connections, bytes, missing, read, refused, stored};
use crate::store::{Body, Cond, Etag, Get, Put, Refused, Sha256Digest, SpooledFile, StoreErrorKind};

pub(super) async fn a_missing_object_is_missing(c: Connections) -> anyhow::Result<()> {
    let key = c.key("missing")?;
    missing(&**c.at(0), &key).await?;
    let got = c.at(0).get(&key, Some(&Etag::new("00000000000000000000000000000000"))).await?;
    anyhow::ensure!(matches!(got, Get::Missing), "with If-None-Match: {got:?}");
    Ok(())
}

pub(super) async fn what_is_put_is_got(c: Connections) -> anyhow::Result<()> {
    for len in [0, 1, 200, 70_000, 1024 * 1024 + 1] {
        let key = c.key(&format!("length-{len}"))?;
        let body = bytes("body", len);
        let etag = stored(c.at(0).put(&key, body.clone().into(), Cond::Any).await)?;
        let got = read(&**c.at(1), &key).await?;
        anyhow::ensure!(got.1 == body, "{len} bytes were put, {} others were got", got.1.len());
        anyhow::ensure!(got.0 == etag, "{len} bytes: put answered {etag:?}, get {:?}", got.0);
        let Get::Found(object) = c.at(0).get(&key, None).await? else { anyhow::bail!("not found") };
        anyhow::ensure!(object.len == len as u64, "length {} instead of {len}", object.len);
        let chunks: Vec<_> = object.body.collect().await;
        let chunks: Result<Vec<Bytes>, _> = chunks.into_iter().collect();
        anyhow::ensure!(chunks?.concat() == body, "streamed, the bytes differ");
    }
    // Any replaces whatever is there.
    let key = c.key("length-200")?;
    stored(c.at(0).put(&key, bytes("other", 300).into(), Cond::Any).await)?;
    anyhow::ensure!(read(&**c.at(0), &key).await?.1 == bytes("other", 300));
    Ok(())
}

pub(super) async fn a_spooled_file_is_stored_whole_or_not_at_all(c: Connections) -> anyhow::Result<()> {
    let content = bytes("spooled", 3_000_000);
    let spool = |bytes: &[u8], digest: Sha256Digest, len: u64| -> anyhow::Result<Body> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        file.flush()?;
        Ok(SpooledFile::new(file.into_temp_path(), len, digest).into())
    };
    let (digest, len) = (Sha256Digest::of(&content), content.len() as u64);

    let key = c.key("whole")?;
    let etag = stored(c.at(0).put(&key, spool(&content, digest, len)?, Cond::Absent).await)?;
    anyhow::ensure!(read(&**c.at(0), &key).await? == (etag.clone(), content.clone()), "the file came back changed");
    let again = c.at(0).put(&key, spool(&content, digest, len)?, Cond::Absent).await;
    // Some servers refuse before they have read the body and hang up, so that the refusal is lost on the way.
    anyhow::ensure!(matches!(again, Put::Refused(_) | Put::Unknown(_)), "creating it again answered {again:?}");
    anyhow::ensure!(read(&**c.at(0), &key).await?.0 == etag, "creating it again has replaced it");

    let key = c.key("changed")?;
    let put = c.at(0).put(&key, spool(&content, Sha256Digest::of(b"another"), len)?, Cond::Any).await;
    anyhow::ensure!(!matches!(put, Put::Stored(_)), "a file that is not what its digest says was stored");
    missing(&**c.at(0), &key).await?;

    let key = c.key("cut")?;
    let put = c.at(0).put(&key, spool(&content[..1_000_000], digest, len)?, Cond::Any).await;
    anyhow::ensure!(!matches!(put, Put::Stored(_)), "a file that is shorter than announced was stored");
    missing(&**c.at(0), &key).await
}

pub(super) async fn a_key_is_created_once(c: Connections) -> anyhow::Result<()> {
    let key = c.key("created")?;
    let etag = c.create(&key, bytes("first", 200)).await?;
    for (connection, body) in [(0, bytes("first", 200)), (1, bytes("second", 200)), (1, bytes("longer", 5000))] {
        let put = c.at(connection).put(&key, body.into(), Cond::Absent).await;
        anyhow::ensure!(
            matches!(put, Put::Refused(Refused::Precondition | Refused::Conflict)),
            "creating it again answered {put:?}"
        );
    }
    anyhow::ensure!(read(&**c.at(0), &key).await? == (etag, bytes("first", 200)), "a refused body has landed");
    Ok(())
}

pub(super) async fn a_version_is_replaced_once(c: Connections) -> anyhow::Result<()> {
    let key = c.key("replaced")?;
    let first = c.create(&key, bytes("first", 200)).await?;
    let second = c.at(1).put(&key, bytes("second", 200).into(), Cond::Matches(first.clone())).await;
    let second = stored(second)?;
    anyhow::ensure!(second != first, "two contents have the ETag {first:?}");
    let stale = c.at(0).put(&key, bytes("third", 200).into(), Cond::Matches(first)).await;
    refused(stale, "replacing a version that is no longer current")?;
    let never = Etag::new("00000000000000000000000000000000");
    refused(
        c.at(0).put(&key, bytes("never", 200).into(), Cond::Matches(never)).await,
        "replacing a version that never was",
    )?;
    anyhow::ensure!(
        read(&**c.at(0), &key).await? == (second.clone(), bytes("second", 200)),
        "a refused body has landed"
    );
    stored(c.at(0).put(&key, bytes("third", 999).into(), Cond::Matches(second)).await)?;
    anyhow::ensure!(read(&**c.at(1), &key).await?.1 == bytes("third", 999));
    Ok(())
}

pub(super) async fn an_absent_key_cannot_be_replaced(c: Connections) -> anyhow::Result<()> {
    let (key, other) = (c.key("absent")?, c.key("other")?);
    let etag = c.create(&other, bytes("other", 200)).await?;
    let put = c.at(0).put(&key, bytes("x", 200).into(), Cond::Matches(etag)).await;
    anyhow::ensure!(
        matches!(put, Put::Refused(Refused::Missing | Refused::Precondition)),
        "replacing an absent key answered {put:?}"
    );
    missing(&**c.at(0), &key).await
}

pub(super) async fn an_etag_names_one_content(c: Connections) -> anyhow::Result<()> {
    let key = c.key("contents")?;
    let mut seen = Vec::new();
    for turn in 0..20 {
        // Same length each time, so that neither length nor a coarse clock tells them apart.
        let etag = stored(c.at(turn).put(&key, bytes(&format!("{turn:04}"), 64).into(), Cond::Any).await)?;
        anyhow::ensure!(!seen.contains(&etag), "write {turn} got the ETag {etag:?} of an earlier one");
        seen.push(etag);
    }
    Ok(())
}

pub(super) async fn a_known_version_is_not_sent_again(c: Connections) -> anyhow::Result<()> {
    let key = c.key("known")?;
    let first = c.create(&key, bytes("first", 200)).await?;
    let got = c.at(1).get(&key, Some(&first)).await?;
    anyhow::ensure!(matches!(got, Get::NotModified), "with the current ETag: {got:?}");
    let second = stored(c.at(0).put(&key, bytes("second", 200).into(), Cond::Matches(first.clone())).await)?;
    match c.at(1).get(&key, Some(&first)).await? {
        Get::Found(object) if object.etag == second => {}
        other => anyhow::bail!("with an old ETag: {other:?}"),
    }
    Ok(())
}

pub(super) async fn a_deleted_object_is_gone_and_can_be_created_again(c: Connections) -> anyhow::Result<()> {
    let key = c.key("deleted")?;
    c.at(0).delete(&key).await?;
    let first = c.create(&key, bytes("first", 200)).await?;
    c.at(1).delete(&key).await?;
    missing(&**c.at(0), &key).await?;
    c.at(0).delete(&key).await?;
    refused(c.at(0).put(&key, bytes("x", 200).into(), Cond::Matches(first)).await, "replacing what was deleted")?;
    c.create(&key, bytes("second", 200)).await?;
    anyhow::ensure!(read(&**c.at(1), &key).await?.1 == bytes("second", 200));
    Ok(())
}

pub(super) async fn a_read_has_a_limit(c: Connections) -> anyhow::Result<()> {
    let key = c.key("limit")?;
    c.create(&key, bytes("x", 1000)).await?;
    let get = async || match c.at(0).get(&key, None).await {
        Ok(Get::Found(object)) => Ok(object),
        other => Err(anyhow::anyhow!("{other:?}")),
    };
    anyhow::ensure!(get().await?.bytes(1000).await?.len() == 1000);
    match get().await?.bytes(999).await {
        Err(err) if err.kind() == StoreErrorKind::TooLarge => Ok(()),
        other => anyhow::bail!("1000 bytes with a limit of 999: {other:?}"),
    }
}

pub(super) async fn a_part_is_read_without_the_rest(c: Connections) -> anyhow::Result<()> {
    let (key, absent) = (c.key("parts")?, c.key("no-parts")?);
    let all = bytes("parts", 600_000);
    let etag = c.create(&key, all.clone()).await?;
    for (from, to) in [(0, 1), (0, 600_000), (599_999, 600_000), (10, 110), (1000, 599_000)] {
        let Some(part) = c.at(1).get_part(&key, from..to).await? else { anyhow::bail!("there is no object") };
        anyhow::ensure!((&part.etag, part.len) == (&etag, 600_000), "{from}..{to}: {part:?}");
        let read: Vec<_> = part.body.try_collect().await?;
        anyhow::ensure!(read.concat() == all[from as usize..to as usize], "{from}..{to} has other bytes");
    }
    for (from, to) in [(599_999, 600_001), (600_000, 600_001), (0, 600_001), (700_000, 800_000)] {
        match c.at(0).get_part(&key, from..to).await {
            Err(err) if err.kind() == StoreErrorKind::Corrupt => {}
            other => anyhow::bail!("{from}..{to} of 600000 bytes: {other:?}"),
        }
    }
    let none = c.at(0).get_part(&absent, 0..1).await?;
    anyhow::ensure!(none.is_none(), "a part of nothing: {none:?}");
    Ok(())
}
