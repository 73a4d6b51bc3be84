//! The faults themselves, and the register under all of them at once.

use super::super::proof::register::{Told, check, work};
use super::super::{MemoryStore, Ulid};
use super::*;

fn key(name: &str) -> Key {
    Key::probe(Ulid::from_parts(1, 1), name).unwrap()
}

fn body(text: &'static str) -> Body {
    Bytes::from_static(text.as_bytes()).into()
}

async fn text(store: &dyn Store, key: &Key) -> Option<Bytes> {
    match store.get(key, None).await.unwrap() {
        Get::Found(object) => Some(object.bytes(1000).await.unwrap()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_script_decides_what_the_next_call_meets() {
    let store = Faulty::calm(MemoryStore::new());
    let put = async |fault, cond| {
        store.script(Call::Put, "scripted", fault);
        store.put(&key("scripted"), body("x"), cond).await
    };
    for (fault, expected) in [
        (Fault::NotSent, "not sent"),
        (Fault::Throttled, "not sent"),
        (Fault::Conflict, "conflict"),
        (Fault::LostRequest, "unknown"),
    ] {
        let put = put(fault, Cond::Absent).await;
        let told = match &put {
            Put::NotSent(_) => "not sent",
            Put::Refused(Refused::Conflict) => "conflict",
            Put::Unknown(_) => "unknown",
            _ => "something else",
        };
        assert_eq!(told, expected, "{fault:?}: {put:?}");
        assert_eq!(text(store.inner(), &key("scripted")).await, None, "{fault:?} does nothing");
    }
    assert!(matches!(put(Fault::LostReply, Cond::Absent).await, Put::Unknown(_)));
    assert_eq!(text(store.inner(), &key("scripted")).await.unwrap(), "x", "a lost reply is a put all the same");
    // Only once, and only where the script says.
    store.script(Call::Put, "elsewhere", Fault::NotSent);
    assert!(matches!(store.put(&key("scripted"), body("y"), Cond::Any).await, Put::Stored(_)));

    let late = Fault::Late(Duration::from_secs(30));
    assert!(matches!(put(late, Cond::Any).await, Put::Unknown(_)));
    assert_eq!(text(&store, &key("scripted")).await.unwrap(), "y");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(text(&store, &key("scripted")).await.unwrap(), "x", "it has landed late");

    store.script(Call::Get, "scripted", Fault::Truncated);
    let Get::Found(object) = store.get(&key("scripted"), None).await.unwrap() else { panic!() };
    assert_eq!(object.bytes(1000).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    store.script(Call::Delete, "", Fault::LostReply);
    assert!(store.delete(&key("scripted")).await.is_err());
    assert_eq!(text(&store, &key("scripted")).await, None, "deleted, and nobody was told");

    store.set_down(true);
    assert!(store.get(&key("scripted"), None).await.is_err());
    assert!(store.list(&Prefix::Crates, None).await.is_err());
    assert!(matches!(store.put(&key("scripted"), body("z"), Cond::Any).await, Put::NotSent(_)));
    store.set_down(false);
    assert_eq!(text(&store, &key("scripted")).await, None);
    let puts = store.calls().into_iter().filter(|(call, ..)| *call == Call::Put);
    assert_eq!(puts.map(|(.., fault)| fault).filter(Option::is_some).count(), 7);
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_history() {
    let mut histories = Vec::new();
    for seed in [7, 7, 8] {
        let store = Faulty::new(MemoryStore::new(), seed, Rates::rough());
        for turn in 0..200 {
            drop(store.put(&key(&format!("{turn}")), body("x"), Cond::Any).await);
        }
        histories.push(store.calls());
    }
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[0], histories[2]);
    let faults = histories[0].iter().filter(|(.., fault)| fault.is_some()).count();
    assert!((20..80).contains(&faults), "{faults} of 200");
}

/// Whatever the network does, no acknowledged compare-and-swap is lost and none is applied twice.
#[tokio::test(start_paused = true)]
async fn a_register_survives_every_fault() {
    for seed in 0..50 {
        let store = Arc::new(Faulty::new(MemoryStore::new(), seed, Rates::rough()));
        let key = key("register");
        let workers = (0..6).map(|worker| work(Arc::clone(&store), key.clone(), worker, 25));
        let mut told = Told::default();
        for one in futures::future::join_all(workers).await {
            told.acknowledged.extend(one.acknowledged);
            told.unknown.extend(one.unknown);
        }
        assert!(told.acknowledged.len() > 10, "seed {seed}: {told:?}");
        // What is still on its way lands, or is refused.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let Get::Found(object) = store.inner().get(&key, None).await.unwrap() else { panic!("seed {seed}") };
        let history = object.bytes(100_000).await.unwrap();
        check(&told, &history).unwrap_or_else(|failed| panic!("seed {seed}: {failed:?}"));
    }
}
