//! Listings.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Connections, bytes, missing, read, stored};
use crate::store::{Cond, Entry, Key, PAGE_ENTRIES_MAX, Prefix, list_all};

pub(super) async fn a_listing_shows_its_prefix_in_order(c: Connections) -> anyhow::Result<()> {
    let prefix = Prefix::Probe(c.case_run());
    anyhow::ensure!(list_all(&**c.at(0), &prefix).await?.is_empty(), "a listing of nothing is not empty");
    // Neither in order nor all of one length; one is another's beginning.
    let names = ["b", "a", "a-b", "a-", "ab", "a0", "0", "zz", "-"];
    for name in names {
        c.create(&c.key(name)?, bytes(name, 10)).await?;
    }
    let mut expected: Vec<Key> = names.iter().map(|name| c.key(name)).collect::<anyhow::Result<_>>()?;
    expected.sort_by_key(Key::to_string);
    let entries = list_all(&**c.at(1), &prefix).await?;
    let keys: Vec<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
    anyhow::ensure!(keys == expected, "listed {keys:?}, expected {expected:?}");
    for Entry { key, etag, len, modified: _ } in entries {
        let (read_etag, read) = read(&**c.at(0), &key).await?;
        anyhow::ensure!(etag == read_etag && len == read.len() as u64, "`{key}` is listed with {etag:?}, {len} bytes");
    }
    let other = Prefix::Probe(crate::store::Ulid::from_parts(1, 1));
    anyhow::ensure!(list_all(&**c.at(0), &other).await?.is_empty(), "a listing shows what is not below its prefix");
    Ok(())
}

pub(super) async fn a_long_listing_comes_in_pages(c: Connections) -> anyhow::Result<()> {
    let prefix = Prefix::Probe(c.case_run());
    let count = PAGE_ENTRIES_MAX + 3;
    stream::iter(0..count)
        .map(|number| {
            let c = c.clone();
            async move { c.create(&c.key(&format!("{number:05}"))?, format!("{number}")).await }
        })
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await?;
    let (mut after, mut pages, mut keys) = (None, 0, Vec::new());
    loop {
        let page = c.at(0).list(&prefix, after.as_ref()).await?;
        anyhow::ensure!(page.entries.len() <= PAGE_ENTRIES_MAX, "a page of {}", page.entries.len());
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        pages += 1;
        anyhow::ensure!(pages < 20, "a listing without an end");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<Key> = (0..count).map(|number| c.key(&format!("{number:05}"))).collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(pages >= 2 && keys == expected, "{} of {count} keys in {pages} pages", keys.len());
    let delete = |key: Key| {
        let store = Arc::clone(c.at(0));
        async move { store.delete(&key).await }
    };
    stream::iter(keys).map(delete).buffer_unordered(16).try_collect::<Vec<_>>().await?;
    anyhow::ensure!(list_all(&**c.at(0), &prefix).await?.is_empty(), "deleted objects are still listed");
    Ok(())
}

pub(super) async fn other_connections_see_a_write_at_once(c: Connections) -> anyhow::Result<()> {
    let prefix = Prefix::Probe(c.case_run());
    for round in 0..12 {
        let key = c.key(&format!("round-{round}"))?;
        let (writer, reader) = (c.at(round), c.at(round + 1));
        let first = stored(writer.put(&key, bytes("first", 200).into(), Cond::Absent).await)?;
        anyhow::ensure!(read(&**reader, &key).await?.0 == first, "round {round}: a read is stale after a create");
        let second = stored(writer.put(&key, bytes("second", 300).into(), Cond::Matches(first)).await)?;
        let listed = list_all(&**reader, &prefix).await?.into_iter().find(|entry| entry.key == key);
        anyhow::ensure!(
            listed.as_ref().map(|entry| &entry.etag) == Some(&second),
            "round {round}: a listing is stale after a replace: {listed:?}"
        );
        anyhow::ensure!(read(&**reader, &key).await?.0 == second, "round {round}: a read is stale after a replace");
        writer.delete(&key).await?;
        missing(&**reader, &key).await?;
        let listed = list_all(&**reader, &prefix).await?;
        anyhow::ensure!(listed.iter().all(|entry| entry.key != key), "round {round}: a listing shows a deleted object");
    }
    Ok(())
}
