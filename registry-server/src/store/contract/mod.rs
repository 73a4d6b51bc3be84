//! One suite for every store: what [`crate::store`] promises, as named cases. The last ones are races.
//!
//! ```ignore
//! let report = contract::run(&contract::connections(&store).await?, run).await;
//! assert!(report.holds(), "{report}");
//! ```
//!
//! It writes below `v1/probe/{run}/`, and one object of every other kind ([`keys::every_kind`]), so give it a prefix or a bucket of its own.

mod basics;
pub mod keys;
mod listing;
mod races;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::proof::Provable;
use super::{Cond, Etag, Get, Key, Put, Store, StoreError, Ulid};

/// The handles that a case works with: the same objects over several connections.
#[derive(Clone)]
pub struct Connections {
    stores: Vec<Arc<dyn Provable>>,
    run: Ulid,
    case: &'static str,
}

/// One promise.
pub struct Case {
    /// What holds, in words joined by `_`.
    pub name: &'static str,
    check: fn(Connections) -> BoxFuture<'static, anyhow::Result<()>>,
}

/// What became of the cases.
#[derive(Debug)]
pub struct Report {
    /// In the order of [`cases`]; an error says what was found.
    pub results: Vec<(&'static str, anyhow::Result<()>)>,
}

/// How many connections [`connections`] opens.
const CONNECTIONS: usize = 4;

/// All cases.
pub fn cases() -> Vec<Case> {
    macro_rules! cases {
        ($($module:ident::$name:ident),* $(,)?) => {
            vec![$(Case { name: stringify!($name), check: |connections| $module::$name(connections).boxed() }),*]
        };
    }
    cases![
        basics::a_missing_object_is_missing,
        basics::what_is_put_is_got,
        basics::a_spooled_file_is_stored_whole_or_not_at_all,
        basics::a_key_is_created_once,
        basics::a_version_is_replaced_once,
        basics::an_absent_key_cannot_be_replaced,
        basics::an_etag_names_one_content,
        basics::a_known_version_is_not_sent_again,
        basics::a_deleted_object_is_gone_and_can_be_created_again,
        basics::a_read_has_a_limit,
        basics::a_part_is_read_without_the_rest,
        keys::every_kind_of_key_comes_back,
        listing::a_listing_shows_its_prefix_in_order,
        listing::a_long_listing_comes_in_pages,
        listing::other_connections_see_a_write_at_once,
        races::an_abandoned_put_is_whole_or_nothing,
        races::reads_during_overwrites_are_whole,
        races::of_32_creating_200_bytes_one_wins,
        races::of_32_creating_1_mib_one_wins,
        races::of_32_replacing_200_bytes_one_wins,
        races::of_32_replacing_1_mib_one_wins,
        races::a_register_loses_no_acknowledged_write,
    ]
}

/// The store itself and witnesses of it.
pub async fn connections(store: &Arc<dyn Provable>) -> Result<Vec<Arc<dyn Provable>>, StoreError> {
    let mut all = vec![Arc::clone(store)];
    for number in 1..CONNECTIONS {
        all.push(store.witness(number).await?);
    }
    Ok(all)
}

/// Runs every case. `run` is fresh, and names the objects. A panic in a case is a failure of it.
pub async fn run(stores: &[Arc<dyn Provable>], run: Ulid) -> Report {
    run_named(stores, run, "").await
}

/// Runs the cases whose names contain `word`.
pub async fn run_named(stores: &[Arc<dyn Provable>], run: Ulid, word: &str) -> Report {
    let mut results = Vec::new();
    for case in cases().into_iter().filter(|case| case.name.contains(word)) {
        let connections = Connections { stores: stores.to_vec(), run, case: case.name };
        let result = tokio::spawn((case.check)(connections)).await;
        results.push((case.name, result.unwrap_or_else(|panic| Err(anyhow::anyhow!("{panic}")))));
    }
    Report { results }
}

impl Report {
    /// Whether every case passed.
    pub fn holds(&self) -> bool {
        self.results.iter().all(|(_, result)| result.is_ok())
    }

    /// The names of the cases that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.results.iter().filter(|(_, result)| result.is_err()).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed().len();
        writeln!(f, "{} of {} promises kept", self.results.len() - failed, self.results.len())?;
        for (name, result) in &self.results {
            if let Err(err) = result {
                writeln!(f, "  {name}: {err:#}")?;
            }
        }
        Ok(())
    }
}

impl Connections {
    /// The `index`th connection, counted around.
    fn at(&self, index: usize) -> &Arc<dyn Provable> {
        &self.stores[index % self.stores.len()]
    }

    /// A key of this case.
    fn key(&self, name: &str) -> anyhow::Result<Key> {
        Ok(Key::probe(self.case_run(), name)?)
    }

    /// A run of its own for each case, so that none sees another's objects in a listing.
    fn case_run(&self) -> Ulid {
        let digest = super::Sha256Digest::of(format!("{}{}", self.run, self.case).as_bytes());
        let mut random = [0; 16];
        random.copy_from_slice(&digest.as_bytes()[..16]);
        Ulid::from_parts(self.run.timestamp_ms(), u128::from_be_bytes(random))
    }

    /// Creates an object and returns its ETag.
    async fn create(&self, key: &Key, bytes: impl Into<Bytes>) -> anyhow::Result<Etag> {
        stored(self.at(0).put(key, bytes.into().into(), Cond::Absent).await)
    }
}

/// Bytes of `len` that tell one `seed` from another in every few of them.
fn bytes(seed: &str, len: usize) -> Bytes {
    let mut text = format!("{seed};");
    text = text.repeat(len / text.len() + 1);
    text.truncate(len);
    text.into()
}

/// The ETag of a put that must have been stored.
fn stored(put: Put) -> anyhow::Result<Etag> {
    match put {
        Put::Stored(etag) => Ok(etag),
        other => anyhow::bail!("a put that should be stored answered {other:?}"),
    }
}

/// A put that must have been refused.
fn refused(put: Put, what: &str) -> anyhow::Result<()> {
    anyhow::ensure!(matches!(put, Put::Refused(_)), "{what} answered {put:?}");
    Ok(())
}

/// Reads an object that must be there.
async fn read(store: &dyn Store, key: &Key) -> anyhow::Result<(Etag, Bytes)> {
    match store.get(key, None).await? {
        Get::Found(object) => {
            let etag = object.etag.clone();
            Ok((etag, object.bytes(8 * 1024 * 1024).await?))
        }
        other => anyhow::bail!("`{key}` should be there, but a read answered {other:?}"),
    }
}

/// Makes sure that an object is not there.
async fn missing(store: &dyn Store, key: &Key) -> anyhow::Result<()> {
    let got = store.get(key, None).await?;
    anyhow::ensure!(matches!(got, Get::Missing), "`{key}` should not be there, but a read answered {got:?}");
    Ok(())
}
