//! What real servers tell of earlier versions of an object: `fsck --repair` puts damaged objects back from there.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use supercargo_registry::store::{Body, Cond, Get, Key, Past, Put, Store};
use supercargo_tests::{
    s3,
    s3_host::{ACCESS_KEY, HostServer, SECRET_KEY},
};

use crate::{BUCKET, store};

async fn put(store: &dyn Store, key: &Key, text: &str) -> Result<()> {
    match store.put(key, Body::from(text.as_bytes().to_vec()), Cond::Any).await {
        Put::Stored(_) => Ok(()),
        other => bail!("{other:?}"),
    }
}

async fn texts(store: &dyn Store, key: &Key) -> Result<Vec<String>> {
    let history = store.history(key).await?;
    let mut texts = Vec::new();
    for past in &history {
        let Get::Found(object) = store.get_past(key, past).await? else { bail!("{past:?} is not there") };
        ensure!(object.len == past.len, "{past:?} has {} bytes", object.len);
        texts.push(String::from_utf8(object.bytes(1024).await?.to_vec())?);
    }
    ensure!(history.is_sorted_by(|newer, older| newer.modified >= older.modified), "{history:?}");
    Ok(texts)
}

async fn tells_of_earlier_versions(server: &HostServer) -> Result<()> {
    let store = store(server).await?;
    let store: Arc<dyn Store> = store;
    // One that begins with the other comes after it in a listing.
    let [key, longer] = [Key::krate("serde")?, Key::krate("serdes")?];
    for key in [&key, &longer] {
        put(&*store, key, "before versioning").await?;
        ensure!(store.history(key).await?.is_empty(), "the current object is no earlier state");
    }
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let client = s3::client(server.endpoint(), ACCESS_KEY, SECRET_KEY);
    client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await?;
    for text in ["one", "two, longer", "three"] {
        put(&*store, &key, text).await?;
    }
    let expected = ["two, longer", "one", "before versioning"];
    ensure!(texts(&*store, &key).await? == expected, "{:?}", texts(&*store, &key).await?);
    store.delete(&key).await?;
    ensure!(matches!(store.get(&key, None).await?, Get::Missing));
    let expected = ["three", "two, longer", "one", "before versioning"];
    ensure!(texts(&*store, &key).await? == expected, "{:?}", texts(&*store, &key).await?);
    put(&*store, &key, "four").await?;
    ensure!(texts(&*store, &key).await? == expected, "after a deletion: {:?}", texts(&*store, &key).await?);
    ensure!(store.history(&longer).await?.is_empty());
    let never = Past { id: "never".to_owned(), ..store.history(&key).await?.remove(0) };
    let got = store.get_past(&key, &never).await;
    ensure!(matches!(got, Ok(Get::Missing) | Err(_)), "{got:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_tells_of_earlier_versions() -> Result<()> {
    tells_of_earlier_versions(&HostServer::versitygw().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_tells_of_earlier_versions() -> Result<()> {
    tells_of_earlier_versions(&HostServer::minio().await?).await
}
