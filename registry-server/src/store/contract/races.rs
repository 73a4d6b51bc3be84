//! Many at once.

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Connections, bytes, read, stored};
use crate::store::proof::Failed;
use crate::store::proof::race::{Contender, excuse, judge};
use crate::store::proof::register::{Told, check, work};
use crate::store::{Cond, Get, Put};

const WRITERS: usize = 32;
const MIB: usize = 1024 * 1024;
/// How often a race with small bodies is run.
const ROUNDS: usize = 5;
/// How often a race with large bodies is run.
const ROUNDS_LARGE: usize = 2;
/// How often a race that nobody won may be run again.
const UNDECIDED_MAX: usize = 5;

pub(super) async fn an_abandoned_put_is_whole_or_nothing(c: Connections) -> anyhow::Result<()> {
    for turn in 0..10_usize {
        let key = c.key(&format!("abandoned-{turn}"))?;
        let body = bytes("abandoned", 2 * MIB);
        let mut put = c.at(0).put(&key, body.clone().into(), Cond::Absent);
        // Let go of it after a few steps of its own, each time a little later.
        for _ in 0..turn {
            if (&mut put).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(put);
        match c.at(1).get(&key, None).await? {
            Get::Missing => {}
            Get::Found(object) => {
                anyhow::ensure!(object.bytes(8 * MIB as u64).await? == body, "a part of an abandoned put was stored");
            }
            Get::NotModified => anyhow::bail!("304 without If-None-Match"),
        }
    }
    Ok(())
}

pub(super) async fn reads_during_overwrites_are_whole(c: Connections) -> anyhow::Result<()> {
    let key = c.key("overwritten")?;
    // All of one length: a server that reads a length first and the bytes later is tolerated, see the notes on `Store::get`.
    let body = |writer: usize, turn: usize| bytes(&format!("{writer:02}.{turn:04}"), 100_000 / 8 * 8);
    stored(c.at(0).put(&key, body(0, 0).into(), Cond::Any).await)?;
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for writer in 0..2 {
        let (store, key) = (Arc::clone(c.at(writer)), key.clone());
        tasks.spawn(async move {
            for turn in 0..60 {
                stored(store.put(&key, body(writer, turn).into(), Cond::Any).await)?;
            }
            Ok(())
        });
    }
    for reader in 0..2 {
        let (store, key) = (Arc::clone(c.at(reader + 2)), key.clone());
        tasks.spawn(async move {
            for _ in 0..60 {
                let (_, bytes) = read(&*store, &key).await?;
                let first = bytes.first_chunk::<8>().context("a read of nothing")?;
                anyhow::ensure!(bytes.chunks(8).all(|chunk| chunk == first), "a read mixes two writes");
            }
            Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

pub(super) async fn of_32_creating_200_bytes_one_wins(c: Connections) -> anyhow::Result<()> {
    race(&c, "create", 200).await
}

pub(super) async fn of_32_creating_1_mib_one_wins(c: Connections) -> anyhow::Result<()> {
    race(&c, "create", MIB).await
}

pub(super) async fn of_32_replacing_200_bytes_one_wins(c: Connections) -> anyhow::Result<()> {
    race(&c, "replace", 200).await
}

pub(super) async fn of_32_replacing_1_mib_one_wins(c: Connections) -> anyhow::Result<()> {
    race(&c, "replace", MIB).await
}

async fn race(c: &Connections, what: &str, len: usize) -> anyhow::Result<()> {
    for round in 0..if len < MIB { ROUNDS } else { ROUNDS_LARGE } {
        let key = c.key(&format!("{what}-{len}-{round}"))?;
        if what == "replace" {
            c.create(&key, bytes("before", len)).await?;
        }
        let mut decided = false;
        let mut contenders = Vec::new();
        for _ in 0..UNDECIDED_MAX {
            let before = if what == "replace" { Some(read(&**c.at(0), &key).await?.0) } else { None };
            let cond = before.clone().map_or(Cond::Absent, Cond::Matches);
            contenders = contend(c, &key, &cond, len).await;
            let after = match c.at(1).get(&key, None).await? {
                Get::Found(object) => Some((object.etag.clone(), object.bytes(8 * MIB as u64).await?)),
                _ => None,
            };
            decided = judge(&contenders, before.as_ref(), after.as_ref()).map_err(told)?;
            if decided {
                break;
            }
        }
        anyhow::ensure!(decided, "round {round}: nobody won: {}", excuse(&contenders));
    }
    Ok(())
}

async fn contend(c: &Connections, key: &crate::store::Key, cond: &Cond, len: usize) -> Vec<Contender> {
    let start = Arc::new(Barrier::new(WRITERS));
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, start) = (Arc::clone(c.at(writer)), Arc::clone(&start));
        let (key, cond) = (key.clone(), cond.clone());
        let bytes = bytes(&format!("writer {writer}"), len);
        tasks.spawn(async move {
            start.wait().await;
            let put = store.put(&key, bytes.clone().into(), cond).await;
            Contender { bytes, put }
        });
    }
    tasks.join_all().await
}

pub(super) async fn a_register_loses_no_acknowledged_write(c: Connections) -> anyhow::Result<()> {
    let key = c.key("register")?;
    let mut tasks = JoinSet::new();
    for worker in 0..16 {
        tasks.spawn(work(Arc::clone(c.at(worker)), key.clone(), worker, 40));
    }
    let mut all = Told::default();
    for one in tasks.join_all().await {
        all.acknowledged.extend(one.acknowledged);
        all.unknown.extend(one.unknown);
        all.error = all.error.or(one.error);
    }
    anyhow::ensure!(!all.acknowledged.is_empty(), "no write was acknowledged: {:?}", all.error);
    let (_, history) = read(&**c.at(0), &key).await?;
    check(&all, &history).map_err(told)?;
    // And one more, to see that the last ETag is good for something.
    let (etag, _) = read(&**c.at(1), &key).await?;
    let put = c.at(1).put(&key, history.into(), Cond::Matches(etag)).await;
    anyhow::ensure!(matches!(put, Put::Stored(_)), "after the dust has settled, a replace answered {put:?}");
    Ok(())
}

fn told(failed: Failed) -> anyhow::Error {
    match failed {
        Failed::Broken(what) => anyhow::anyhow!(what),
        Failed::Unreachable(err) => err.into(),
    }
}
