//! Many puts at once with one condition: exactly one may win, and what is stored must be the winner's.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::bench::{Bench, Failed};
use crate::store::{Cond, Etag, Key, Put, StoreError, StoreErrorKind};

/// Lengths of the bodies: servers store small and large objects in different ways.
pub(super) const SMALL_BYTES: usize = 200;
/// See [`SMALL_BYTES`].
pub(super) const LARGE_BYTES: usize = 1_000_000;
/// How often a race that nobody won is run again: a store may answer everybody with 409.
const UNDECIDED_MAX: usize = 3;

/// What one contender sent, and what it was told.
pub(in crate::store) struct Contender {
    /// The body.
    pub(in crate::store) bytes: Bytes,
    /// The answer.
    pub(in crate::store) put: Put,
}

/// Judges a race. `after`: what is stored now.
///
/// # Errors
/// Two winners, a winner whose bytes are not there, bytes that a loser sent. `Ok(false)`: nobody won, and nothing is wrong.
pub(in crate::store) fn judge(
    contenders: &[Contender],
    before: Option<&Etag>,
    after: Option<&(Etag, Bytes)>,
) -> Result<bool, Failed> {
    let broken = |what: String| Err(Failed::Broken(what));
    let winners: Vec<&Contender> = contenders.iter().filter(|c| matches!(c.put, Put::Stored(_))).collect();
    if winners.len() > 1 {
        return broken(format!(
            "{} of {} puts with the same condition at the same time were all accepted, so all but one were lost",
            winners.len(),
            contenders.len()
        ));
    }
    let unchanged = after.map(|(etag, _)| etag) == before;
    match (winners.first(), after) {
        (Some(winner), Some((_, bytes))) if winner.bytes == *bytes => Ok(true),
        (Some(_), _) => {
            broken("of several puts at the same time one was accepted, but its bytes are not there".to_owned())
        }
        (None, _) if unchanged => Ok(false),
        // An answer was lost on the way, which is no lie: but the bytes must be of one whose answer was lost.
        (None, Some((_, bytes))) => {
            let author = contenders.iter().find(|c| c.bytes == *bytes);
            match author.map(|c| &c.put) {
                Some(Put::Unknown(_)) => Ok(true),
                Some(_) => broken("of several puts at the same time one that was refused has been stored".to_owned()),
                None => broken(
                    "after several puts at the same time the object holds bytes that none of them sent".to_owned(),
                ),
            }
        }
        (None, None) => broken("several puts at the same time removed the object".to_owned()),
    }
}

/// Why nobody won, if an error is to blame.
pub(in crate::store) fn excuse(contenders: &[Contender]) -> StoreError {
    let error = contenders.iter().find_map(|c| match &c.put {
        Put::NotSent(err) | Put::Unknown(err) => Some(err.clone()),
        _ => None,
    });
    error.unwrap_or_else(|| {
        StoreError::new(
            StoreErrorKind::Unavailable,
            "of several conditional puts at the same time the store refused every one, again and again",
        )
    })
}

pub(super) async fn race(bench: &Arc<Bench>) -> Result<(), Failed> {
    for round in 0..bench.effort.race_rounds {
        create_and_replace(bench, &format!("race-small-{round}"), bench.effort.racers, SMALL_BYTES).await?;
    }
    create_and_replace(bench, "race-large", bench.effort.racers_large, LARGE_BYTES).await
}

async fn create_and_replace(bench: &Arc<Bench>, name: &str, racers: usize, len: usize) -> Result<(), Failed> {
    let key = bench.key(name);
    until_decided(bench, &key, "create", racers, len).await?;
    until_decided(bench, &key, "replace", racers, len).await
}

async fn until_decided(bench: &Arc<Bench>, key: &Key, what: &str, racers: usize, len: usize) -> Result<(), Failed> {
    let mut contenders = Vec::new();
    for round in 0..UNDECIDED_MAX {
        let before = Bench::read(bench.connection(0), key).await?.map(|(etag, _)| etag);
        let cond = before.clone().map_or(Cond::Absent, Cond::Matches);
        contenders = run(bench, key, &format!("{what} {round}"), &cond, racers, len).await;
        let after = Bench::read(bench.connection(0), key).await?;
        if judge(&contenders, before.as_ref(), after.as_ref())? {
            return Ok(());
        }
    }
    Err(excuse(&contenders).into())
}

/// One race: all put at the same moment, each over the next connection.
async fn run(bench: &Arc<Bench>, key: &Key, what: &str, cond: &Cond, racers: usize, len: usize) -> Vec<Contender> {
    let start = Arc::new(Barrier::new(racers));
    let mut tasks = JoinSet::new();
    for racer in 0..racers {
        let (bench, key, cond) = (Arc::clone(bench), key.clone(), cond.clone());
        let start = Arc::clone(&start);
        let bytes = bench.body(&format!("{what} {racer}"), len);
        tasks.spawn(async move {
            start.wait().await;
            let put = bench.connection(racer).put(&key, bytes.clone().into(), cond).await;
            Contender { bytes, put }
        });
    }
    tasks.join_all().await
}
