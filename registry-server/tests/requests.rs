//! What each operation asks of the store, counted in the log of an S3 server: the README's table "What it costs in requests".

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use supercargo_registry::access::{Principal, TokenSecret};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::registry::{Compacted, Content, Query, Registry, RegistryError};
use supercargo_registry::store::faulty::Call;
use supercargo_registry::store::s3_server::{Lie, Logged, S3Server};
use support::crates::{name, new_token, principal, publish_plain, version};
use support::replicas::{Bench, LEASE, Room, at, replica_over};
use tokio_util::sync::CancellationToken;

/// Operation; requests of a replica that knows the crate, or the token; requests of one that has just started.
/// Polls of the head are a row of their own, and left out of all others. So is the entry of the audit log that follows each change.
const TABLE: [(&str, &str, &str); 19] = [
    ("index file: 200 or 304", "none", "1 GET (crate)"),
    ("index file of a crate that is not there", "none", "1 GET (crate)"),
    ("first look at a token", "none", "1 GET (token)"),
    ("download", "1 GET (blob)", "2 GET (blob, crate)"),
    ("the same again, of a small crate", "none", "2 GET (blob, crate)"),
    ("publish of a new crate", "4 PUT (blob, crate, crate, head)", "1 GET (crate), 4 PUT (blob, crate, crate, head)"),
    ("publish of a version", "4 PUT (blob, crate, crate, head)", "1 GET (crate), 4 PUT (blob, crate, crate, head)"),
    (
        "publish of a version, after sixteen other crates",
        "1 GET (crate), 4 PUT (blob, crate, crate, head)",
        "1 GET (crate), 4 PUT (blob, crate, crate, head)",
    ),
    ("the same publish again", "none", "1 GET (crate)"),
    ("yank, unyank", "1 GET (crate), 3 PUT (crate, crate, head)", "1 GET (crate), 3 PUT (crate, crate, head)"),
    ("owners: list", "none", "1 GET (crate)"),
    ("owners: add, remove", "1 GET (crate), 3 PUT (crate, crate, head)", "1 GET (crate), 3 PUT (crate, crate, head)"),
    ("token: create", "1 GET (token), 3 PUT (head, token, token)", "1 GET (token), 3 PUT (head, token, token)"),
    ("token: revoke", "1 GET (token), 3 PUT (head, token, token)", "1 GET (token), 3 PUT (head, token, token)"),
    ("search", "none", "2 GET (catalog, catalog)"),
    ("start of a replica, besides the proof of the store", "–", "1 GET (meta), 1 PUT (head)"),
    ("a replica that leaves", "1 PUT (head)", "–"),
    ("idle for an hour", "none", "–"),
    ("polls of the head by a busy replica, per lease", "4 GET (head)", "–"),
];

/// The rows that time makes, not requests.
const OF_TIME: usize = 2;

fn markdown() -> String {
    let mut text = "| operation | a replica that knows it | one that has just started |\n|---|---|---|\n".to_owned();
    for (operation, warm, cold) in TABLE {
        text += &format!("| {operation} | {warm} | {cold} |\n");
    }
    text
}

#[test]
fn the_readme_has_the_table() {
    let table = markdown();
    assert!(
        include_str!("../README.md").contains(&table),
        "registry-server/README.md does not hold this table:\n{table}"
    );
}

/// Requests as a cell of the table: by method, with the kinds of objects.
fn cell(requests: impl Iterator<Item = (String, String)>) -> String {
    let mut by_method = BTreeMap::<_, Vec<_>>::new();
    for (method, kind) in requests {
        by_method.entry(method).or_default().push(kind);
    }
    let words = by_method.into_iter().map(|(method, mut kinds)| {
        kinds.sort();
        format!("{} {method} ({})", kinds.len(), kinds.join(", "))
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// `(GET, crate)` of a request; `None` for polls of the head, which come when they come, entries of the audit log, one after each change's answer,
/// and the proof.
fn kind(request: &Logged) -> Option<(String, String)> {
    let is_list = request.query.contains("list-type=2");
    let method = if is_list { "LIST".to_owned() } else { request.method.clone() };
    let place = if is_list { request.query.replace("%2F", "/") } else { request.path.clone() };
    let kind = place.split_once("v1/").expect("a key").1.split(['/', '&']).next().expect("a kind").to_owned();
    (kind != "probe" && kind != "audit" && (method.as_str(), kind.as_str()) != ("GET", "head"))
        .then_some((method, kind))
}

struct Meter {
    s3: S3Server,
    room: Room,
    /// The replica that knows what there is to know.
    known: Arc<Registry>,
    rows: BTreeMap<String, (String, String)>,
}

impl Meter {
    /// Runs something and tells what it asked of the store.
    async fn cost<T>(&self, operation: impl Future<Output = T>) -> (T, String) {
        self.s3.clear_requests();
        let result = operation.await;
        (result, cell(self.s3.requests().iter().filter_map(kind)))
    }

    /// One row: on a replica that knows what there is to know, and on one that has just started.
    async fn row<T: std::fmt::Debug>(
        &mut self,
        operation: &str,
        warm: impl AsyncFnOnce() -> Result<T, RegistryError>,
        cold: impl AsyncFnOnce(Arc<Registry>) -> Result<T, RegistryError>,
    ) {
        // Others have come and gone; who writes knows the head again.
        self.known.put_token(secret(100 + self.rows.len()).hash(), new_token()).await.unwrap();
        let (result, warm) = self.cost(warm()).await;
        result.unwrap_or_else(|error| panic!("{operation}: {error:?}"));
        // Its randomness comes from its address.
        let fresh = member(&self.s3, &self.room, &format!("fresh{}", self.rows.len())).await;
        let (result, cold) = self.cost(cold(fresh.clone())).await;
        result.unwrap_or_else(|error| panic!("{operation}: {error:?}"));
        fresh.leave().await;
        self.rows.insert(operation.to_owned(), (warm, cold));
    }
}

async fn member(s3: &S3Server, room: &Room, address: &str) -> Arc<Registry> {
    let store = Arc::new(s3.store().await.unwrap());
    let registry = replica_over(store, Arc::new(room.clone()), at(address)).await;
    room.enter(address, &registry);
    tokio::spawn(registry.clone().keep_up(CancellationToken::new()));
    while registry.standing().role != "member" {
        tokio::task::yield_now().await;
    }
    registry
}

fn secret(number: usize) -> TokenSecret {
    Entropy::seeded(number as u64).with(TokenSecret::generate)
}

/// A read that is expected to find nothing.
fn missing<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> Result<(), RegistryError> {
    match result {
        Err(RegistryError::NotFound(_)) => Ok(()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_costs_what_the_table_says() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let setup = support::registry_in(Arc::new(s3.store().await.unwrap()), 9).await;
    let ann = principal(&setup, "ann").await;
    let room = Room::default();
    s3.clear_requests();
    let known = member(&s3, &room, "known").await;
    let boot = cell(s3.requests().iter().filter_map(kind));
    let boot = ("start of a replica, besides the proof of the store".to_owned(), ("–".to_owned(), boot));
    let mut meter = Meter { s3, room, known: known.clone(), rows: BTreeMap::from([boot]) };
    publish_plain(&known, &ann, "krate", "1.0.0").await.unwrap();
    reads(&mut meter, &known, &ann).await;
    changes(&mut meter, &known, &ann).await;
    tokens(&mut meter, &known).await;
    let (_, leaving) = meter.cost(known.leave()).await;
    meter.rows.insert("a replica that leaves".into(), (leaving, "–".into()));

    let wanted: BTreeMap<_, _> = TABLE[..TABLE.len() - OF_TIME]
        .iter()
        .map(|(operation, warm, cold)| ((*operation).to_owned(), ((*warm).to_owned(), (*cold).to_owned())))
        .collect();
    assert_eq!(meter.rows, wanted);
}

async fn reads(meter: &mut Meter, known: &Arc<Registry>, ann: &Principal) {
    let (krate, absent, first) = (name("krate"), name("absent"), version("1.0.0"));
    let row = "index file: 200 or 304";
    meter
        .row(
            row,
            async || known.index(ann, &krate).await.map(drop),
            async |fresh| fresh.index(ann, &krate).await.map(drop),
        )
        .await;
    assert!(missing(known.index(ann, &absent).await).is_ok(), "now it knows");
    let row = "index file of a crate that is not there";
    let cold = async |fresh: Arc<Registry>| missing(fresh.index(ann, &absent).await);
    meter.row(row, async || missing(known.index(ann, &absent).await), cold).await;
    let cold = async |fresh: Arc<Registry>| fresh.owners(ann, &krate).await;
    meter.row("owners: list", async || known.owners(ann, &krate).await, cold).await;
    let download = async |registry: &Registry| {
        let download = registry.download(ann, &krate, &first).await?;
        Ok(match registry.content(&download, None).await? {
            Content::Whole(bytes) => bytes.len(),
            Content::Stream(body) => body.map(|chunk| chunk.unwrap().len()).fold(0, async |sum, len| sum + len).await,
        })
    };
    meter.row("download", async || download(known).await, async |fresh| download(&fresh).await).await;
    let again = "the same again, of a small crate";
    meter.row(again, async || download(known).await, async |fresh| download(&fresh).await).await;
    let query = Query::new("krate", None, 1, 10).unwrap();
    let search = async |registry: &Arc<Registry>| registry.search(ann, &query).await.map(drop);
    search(known).await.unwrap();
    assert_eq!(known.compact().await.unwrap(), Compacted::Stored);
    meter.row("search", async || search(known).await, async |fresh| search(&fresh).await).await;
}

async fn changes(meter: &mut Meter, known: &Arc<Registry>, ann: &Principal) {
    let (krate, first) = (name("krate"), version("1.0.0"));
    assert!(missing(known.index(ann, &name("new")).await).is_ok(), "cargo has looked whether it is there");
    let publish = async |registry: &Registry, krate: &str, version: &str| {
        publish_plain(registry, ann, krate, version).await.map(drop)
    };
    let cold = async |fresh: Arc<Registry>| publish(&fresh, "newer", "1.0.0").await;
    meter.row("publish of a new crate", async || publish(known, "new", "1.0.0").await, cold).await;
    let cold = async |fresh: Arc<Registry>| publish(&fresh, "krate", "1.2.0").await;
    meter.row("publish of a version", async || publish(known, "krate", "1.1.0").await, cold).await;
    known.index(ann, &krate).await.unwrap();
    let cold = async |fresh: Arc<Registry>| publish(&fresh, "krate", "1.2.0").await;
    meter.row("the same publish again", async || publish(known, "krate", "1.2.0").await, cold).await;
    let cold = async |fresh: Arc<Registry>| fresh.set_yanked(ann, &krate, &first, false).await;
    meter.row("yank, unyank", async || known.set_yanked(ann, &krate, &first, true).await, cold).await;
    known.index(ann, &krate).await.unwrap();
    let bob = ["bob".parse().unwrap()];
    let cold = async |fresh: Arc<Registry>| fresh.remove_owners(ann, &krate, &bob).await;
    meter.row("owners: add, remove", async || known.add_owners(ann, &krate, &bob).await, cold).await;
    // Memory has what readers need of every crate, and the whole records of the last ones.
    publish(known, "quiet", "1.0.0").await.unwrap();
    // Search reads what was changed, sooner or later.
    known.search(ann, &Query::new("quiet", None, 1, 10).unwrap()).await.unwrap();
    for number in 0..16 {
        publish(known, &format!("other{number}"), "1.0.0").await.unwrap();
    }
    let row = "publish of a version, after sixteen other crates";
    let cold = async |fresh: Arc<Registry>| publish(&fresh, "quiet", "1.2.0").await;
    meter.row(row, async || publish(known, "quiet", "1.1.0").await, cold).await;
}

async fn tokens(meter: &mut Meter, known: &Arc<Registry>) {
    let (one, two) = (secret(1), secret(2));
    let cold = async |fresh: Arc<Registry>| fresh.put_token(two.hash(), new_token()).await.map(drop);
    meter.row("token: create", async || known.put_token(one.hash(), new_token()).await.map(drop), cold).await;
    known.authenticate(one.expose()).await.unwrap();
    let cold = async |fresh: Arc<Registry>| fresh.authenticate(one.expose()).await.map(drop);
    meter.row("first look at a token", async || known.authenticate(one.expose()).await.map(drop), cold).await;
    let cold = async |fresh: Arc<Registry>| fresh.revoke_token(two.hash()).await;
    meter.row("token: revoke", async || known.revoke_token(one.hash()).await, cold).await;
}

/// On a paused clock, which a socket cannot follow: the calls of the store, each of which is one request when nothing goes wrong.
#[tokio::test(start_paused = true)]
async fn time_costs_what_the_table_says() {
    let bench = Bench::new().await;
    let replica = bench.replica("a").await;
    publish_plain(&replica, &bench.ann, "krate", "1.0.0").await.unwrap();
    tokio::time::sleep(2 * LEASE).await;
    let begun = bench.store.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let idle = cell(calls(&bench, begun));

    replica.index(&bench.ann, &name("krate")).await.unwrap();
    let begun = bench.store.calls().len();
    let leases = 100;
    for _ in 0..leases * 20 {
        replica.index(&bench.ann, &name("krate")).await.unwrap();
        tokio::time::sleep(LEASE / 20).await;
    }
    let polls = calls(&bench, begun).map(|(method, kind)| format!("{method} {kind}")).collect::<Vec<_>>();
    assert!(polls.iter().all(|call| call == "GET head"), "{polls:?}");
    let busy = format!("{} GET (head)", (polls.len() as f64 / f64::from(leases)).round());
    let wanted: Vec<_> = TABLE[TABLE.len() - OF_TIME..].iter().map(|(_, cost, _)| *cost).collect();
    assert_eq!([idle, busy], wanted[..]);
}

fn calls(bench: &Bench, from: usize) -> impl Iterator<Item = (String, String)> {
    let calls = bench.store.calls().split_off(from);
    calls.into_iter().map(|(call, key, _): (Call, _, _)| {
        let kind = key.split('/').nth(1).expect("a kind").to_owned();
        (format!("{call:?}").to_uppercase(), kind)
    })
}
