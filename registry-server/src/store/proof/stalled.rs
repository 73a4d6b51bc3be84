//! A conditional put that stops in the middle of its body. A server that looks at the condition when the head arrives lets it overwrite what has
//! been committed meanwhile: races find that by luck, this finds it every time.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::bench::{Bench, Detail, Expect as _, Failed};
use super::race::{Contender, LARGE_BYTES, SMALL_BYTES, excuse, judge};
use crate::store::{Cond, Put};

/// Whether the store could be made to stall.
pub(super) enum Stalled {
    Passed { waited: bool },
    NotApplicable,
}

impl Detail for Stalled {
    fn detail(&self) -> (super::Outcome, String) {
        match self {
            Self::Passed { waited: false } => (super::Outcome::Passed, String::new()),
            Self::Passed { waited: true } => {
                let note = "a put holds the key while its body arrives; others on the key wait for it";
                (super::Outcome::Passed, note.to_owned())
            }
            Self::NotApplicable => (super::Outcome::NotApplicable, "puts here are one step".to_owned()),
        }
    }
}

pub(super) async fn stalled(bench: &Arc<Bench>) -> Result<Stalled, Failed> {
    let all = [("create", SMALL_BYTES), ("replace", SMALL_BYTES), ("create", LARGE_BYTES), ("replace", LARGE_BYTES)];
    // Each on a key of its own, so all at once.
    let results = futures::future::join_all(all.map(|(what, len)| Box::pin(stall(bench, what, len)))).await;
    let mut waited = false;
    for result in results {
        match result? {
            Stalled::NotApplicable => return Ok(Stalled::NotApplicable),
            Stalled::Passed { waited: this } => waited |= this,
        }
    }
    Ok(Stalled::Passed { waited })
}

async fn stall(bench: &Arc<Bench>, what: &str, len: usize) -> Result<Stalled, Failed> {
    let key = bench.key(&format!("stalled-{what}-{len}"));
    let (first, second) = (bench.connection(0), bench.connection(1));
    let (cond, before) = match what {
        "create" => (Cond::Absent, None),
        _ => {
            let put = first.put(&key, bench.body("before", len).into(), Cond::Absent).await;
            let etag = put.stored("a put with `If-None-Match: *` on a key that did not exist")?;
            (Cond::Matches(etag.clone()), Some(etag))
        }
    };
    let (a, b) = (bench.body("the stalled one", len), bench.body("the quick one", len));
    let (handed_over, half_sent) = oneshot::channel();
    let (release, go_on) = oneshot::channel::<()>();
    let go_on = Box::pin(async move {
        // A dropped sender lets it go on, too.
        let _ = go_on.await;
    });
    let stalled = first.put_stalled(&key, a.clone(), cond.clone(), handed_over, go_on);
    let quick = async {
        if half_sent.await.is_err() {
            // The first ended before its middle: refused at once, or not applicable.
            return (false, second.put(&key, b.clone().into(), cond.clone()).await);
        }
        tokio::time::sleep(bench.effort.stall_head_start).await;
        let put = second.put(&key, b.clone().into(), cond.clone());
        tokio::pin!(put);
        match tokio::time::timeout(bench.effort.stall, &mut put).await {
            Ok(put) => {
                let _ = release.send(());
                (false, put)
            }
            Err(_) => {
                let _ = release.send(());
                (true, put.await)
            }
        }
    };
    let (stalled, (waited, quick)) = futures::join!(stalled, quick);
    let Some(stalled) = stalled else { return Ok(Stalled::NotApplicable) };
    let after = Bench::read(first, &key).await?;
    let contenders = [Contender { bytes: a, put: stalled }, Contender { bytes: b, put: quick }];
    match judge(&contenders, before.as_ref(), after.as_ref()) {
        Ok(true) => Ok(Stalled::Passed { waited }),
        Ok(false) => Err(excuse(&contenders).into()),
        Err(Failed::Broken(found)) => Err(Failed::Broken(format!(
            "it looks at a condition before it has the body ({what}, {len} bytes; the put that stalled in the middle: {}): {found}",
            told(&contenders[0].put)
        ))),
        Err(failed) => Err(failed),
    }
}

fn told(put: &Put) -> &'static str {
    match put {
        Put::Stored(_) => "accepted",
        Put::Refused(_) => "refused",
        Put::NotSent(_) => "not sent",
        Put::Unknown(_) => "no answer",
    }
}
