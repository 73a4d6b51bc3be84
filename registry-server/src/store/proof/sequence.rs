//! One request after the other: what a store must get right before races are worth a try.

use bytes::Bytes;

use super::EtagDialect;
use super::bench::{Bench, Detail, Expect as _, Failed};
use crate::store::{Cond, Entry, Etag, Get, Key, Prefix, list_all};

/// How often the fresh step goes round.
const FRESH_ROUNDS: usize = 4;

/// An object after the `replace` step.
pub(super) struct State {
    key: Key,
    absent: Key,
    stale: Etag,
    current: Etag,
    bytes: Bytes,
    dialect: EtagDialect,
}

impl Detail for State {
    fn detail(&self) -> (super::Outcome, String) {
        let note = match self.dialect {
            EtagDialect::Quoted => String::new(),
            EtagDialect::Bare => "ETags go into conditions without quotes".to_owned(),
        };
        (super::Outcome::Passed, note)
    }
}

/// A created object.
pub(super) struct Created {
    key: Key,
    etag: Etag,
}

impl Detail for Created {}

/// Is there a bucket that lets us in?
pub(super) async fn reach(bench: &Bench) -> Result<(), Failed> {
    let key = bench.key("absent");
    match Bench::read(bench.connection(0), &key).await? {
        None => Ok(()),
        Some(_) => Err(Failed::Broken(format!("it returned an object for `{key}`, which nobody ever wrote"))),
    }
}

/// A key is created once.
pub(super) async fn create(bench: &Bench) -> Result<Created, Failed> {
    let store = bench.connection(0);
    let key = bench.key("sequence");
    let put = store.put(&key, bench.body("one", 200).into(), Cond::Absent).await;
    let etag = put.stored("a put with `If-None-Match: *` on a key that did not exist")?;
    let again = store.put(&key, bench.body("again", 200).into(), Cond::Absent).await;
    again.refused("a put with `If-None-Match: *` on a key that exists: it ignores the condition")?;
    Ok(Created { key, etag })
}

/// A version is replaced once. Finds out how the server wants its ETags.
pub(super) async fn replace(bench: &Bench, created: Created) -> Result<State, Failed> {
    let store = bench.connection(0);
    let Created { key, etag: stale } = created;
    let bytes = bench.body("two", 200);
    let mut found = None;
    for &dialect in store.etag_dialects() {
        store.speak(dialect);
        match store.put(&key, bytes.clone().into(), Cond::Matches(stale.clone())).await.stored("") {
            Ok(etag) => {
                found = Some((etag, dialect));
                break;
            }
            Err(Failed::Broken(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    let Some((current, dialect)) = found else {
        let what = "it refused a put with `If-Match` and the ETag that it had just given, with quotes and without";
        return Err(Failed::Broken(what.to_owned()));
    };
    if current == stale {
        return Err(Failed::Broken("it gave two different contents of a key the same ETag".to_owned()));
    }
    let put = store.put(&key, bench.body("stale", 200).into(), Cond::Matches(stale.clone())).await;
    put.refused("a put with `If-Match` and an ETag that is no longer current: it ignores the condition")?;
    let never = Etag::new("00000000000000000000000000000000");
    let put = store.put(&key, bench.body("never", 200).into(), Cond::Matches(never)).await;
    put.refused("a put with `If-Match` and an ETag that never was: it ignores the condition")?;
    let absent = bench.key("never-created");
    let put = store.put(&absent, bench.body("absent", 200).into(), Cond::Matches(current.clone())).await;
    put.refused("a put with `If-Match` on a key that does not exist: it ignores the condition")?;
    Ok(State { key, absent, stale, current, bytes, dialect })
}

/// What was refused has not landed.
pub(super) async fn refused(bench: &Bench, state: &State) -> Result<(), Failed> {
    let store = bench.connection(0);
    match Bench::read(store, &state.key).await? {
        Some((etag, bytes)) if etag == state.current && bytes == state.bytes => {}
        Some((etag, _)) if etag != state.current => {
            let what = format!("a put answered with ETag {:?}, the read after it with {etag:?}", state.current);
            return Err(Failed::Broken(what));
        }
        Some(_) => return Err(Failed::Broken("a put that it refused has changed the object".to_owned())),
        None => return Err(Failed::Broken("an object that it had acknowledged is not there".to_owned())),
    }
    match Bench::read(store, &state.absent).await? {
        None => Ok(()),
        Some(_) => Err(Failed::Broken("a put that it refused has created the object".to_owned())),
    }
}

/// ETags mean the same everywhere.
pub(super) async fn not_modified(bench: &Bench, state: &State) -> Result<(), Failed> {
    let store = bench.connection(0);
    let broken = |what: &str| Err(Failed::Broken(what.to_owned()));
    if !matches!(store.get(&state.key, Some(&state.current)).await?, Get::NotModified) {
        return broken("it sent an object again although `If-None-Match` held its current ETag");
    }
    if !matches!(store.get(&state.key, Some(&state.stale)).await?, Get::Found(_)) {
        return broken("it answered 304 although `If-None-Match` held an ETag that is no longer current");
    }
    match listed(bench, 0, &state.key).await? {
        Some(entry) if entry.etag == state.current && entry.len == state.bytes.len() as u64 => Ok(()),
        Some(entry) => Err(Failed::Broken(format!(
            "a listing showed ETag {:?} and {} bytes for an object with ETag {:?} and {} bytes",
            entry.etag,
            entry.len,
            state.current,
            state.bytes.len()
        ))),
        None => broken("a listing did not show an object that exists"),
    }
}

/// What one connection wrote, another sees at once.
pub(super) async fn fresh(bench: &Bench) -> Result<(), Failed> {
    for round in 0..FRESH_ROUNDS {
        let key = bench.key(&format!("fresh-{round}"));
        let (writer, reader) = (bench.connection(round), round + 1);
        let mut current = None;
        for version in ["created", "overwritten"] {
            let bytes = bench.body(version, 200 + round);
            let cond = current.take().map_or(Cond::Absent, Cond::Matches);
            let etag = writer.put(&key, bytes.clone().into(), cond).await.stored("a plain sequence of puts")?;
            let read = Bench::read(bench.connection(reader), &key).await?;
            if read != Some((etag.clone(), bytes)) {
                return Err(Failed::Broken(format!(
                    "a read on another connection did not see that an object was {version}"
                )));
            }
            if listed(bench, reader, &key).await?.map(|entry| entry.etag) != Some(etag.clone()) {
                let what = format!("a listing on another connection did not see that an object was {version}");
                return Err(Failed::Broken(what));
            }
            current = Some(etag);
        }
        writer.delete(&key).await?;
        if Bench::read(bench.connection(reader), &key).await?.is_some() {
            return Err(Failed::Broken("a read on another connection still saw an object that was deleted".to_owned()));
        }
        if listed(bench, reader, &key).await?.is_some() {
            return Err(Failed::Broken(
                "a listing on another connection still saw an object that was deleted".to_owned(),
            ));
        }
    }
    Ok(())
}

async fn listed(bench: &Bench, connection: usize, key: &Key) -> Result<Option<Entry>, Failed> {
    let entries = list_all(bench.connection(connection), &Prefix::Probe(bench.run)).await?;
    Ok(entries.into_iter().find(|entry| entry.key == *key))
}
