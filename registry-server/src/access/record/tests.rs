//! Token records: their form is a promise, revocation is for ever.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use super::*;
use crate::access::{CratePattern, Verb};

fn op(seed: u64) -> OpId {
    OpId::generate(&mut StdRng::seed_from_u64(seed))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn later() -> Timestamp {
    at("2026-02-01T00:00:00Z")
}

fn new_token() -> NewToken {
    let body = json!({ "user": "ci", "description": "default/ci", "expires_at": "2027-01-01T00:00:00Z",
        "grants": [{ "verbs": ["Read", "PublishNew"], "crates": ["b-*", "a"] }] });
    serde_json::from_value(body).unwrap()
}

#[test]
fn the_stored_form() {
    let record = TokenRecord::new(op(1), new_token(), at("2026-01-01T00:00:00Z"));
    let expected = format!(
        "{{\"op\":\"{}\",\"rev\":1,\"user\":\"ci\",\"description\":\"default/ci\",\"grants\":[{{\"verbs\":[\"Read\",\"PublishNew\"],\
         \"crates\":[\"b-*\",\"a\"]}}],\"created_at\":\"2026-01-01T00:00:00Z\",\"expires_at\":\"2027-01-01T00:00:00Z\",\
         \"revoked_at\":null,\"ops\":[{{\"op\":\"{}\",\"kind\":\"token-create\",\"at\":\"2026-01-01T00:00:00Z\",\"rev\":1}}]}}\n",
        op(1),
        op(1)
    );
    assert_eq!(String::from_utf8(record.to_bytes()).unwrap(), expected);
    assert_eq!(TokenRecord::parse(expected.as_bytes()).unwrap(), record);
}

#[test]
fn the_same_content_changes_nothing() {
    let mut record = TokenRecord::new(op(1), new_token(), at("2026-01-01T00:00:00Z"));
    let before = record.clone();
    let mut other_order = new_token();
    other_order.grants[0].crates.reverse();
    assert_eq!(record.update(op(2), other_order, later()), Ok(false));
    assert_eq!(record, before);
    let mut longer = new_token();
    longer.expires_at = None;
    assert_eq!(record.update(op(2), longer, later()), Ok(true));
    assert_eq!((record.rev, &record.op, record.expires_at, record.created_at), (2, &op(2), None, before.created_at));
    let mut narrower = new_token();
    narrower.grants[0].crates = vec![CratePattern::parse("a").unwrap()];
    assert!(!record.is(&narrower));
    assert!(!record.is(&NewToken { grants: vec![Grant::on_all([Verb::Read])], ..new_token() }));
}

#[test]
fn a_marked_state_reads_as_the_state_that_it_will_replace() {
    let record = TokenRecord::new(op(1), new_token(), at("2026-01-01T00:00:00Z"));
    let mut marked = TokenRecord::parse(&record.marked(op(2)).to_bytes()).unwrap();
    assert_eq!((marked.rev, marked.mark.as_ref(), &marked.user), (1, Some(&op(2)), &record.user));
    assert!(marked.contains(&op(1)), "what was done is still known");
    assert!(marked.marked(op(3)).contains(&op(1)), "under a second mark too");
    assert!(marked.revoke(op(4), at("2026-02-01T00:00:00Z")));
    assert_eq!((marked.rev, &marked.mark, marked.contains(&op(1))), (2, &None, true));
    let reserved = TokenRecord::parse(&record.reservation(op(2)).to_bytes()).unwrap();
    assert_eq!((reserved.rev, reserved.contains(&op(1))), (0, false));
}

#[test]
fn revoked_is_for_ever() {
    let mut record = TokenRecord::new(op(1), new_token(), at("2026-01-01T00:00:00Z"));
    assert!(record.revoke(op(2), at("2026-02-01T00:00:00Z")));
    let revoked = record.clone();
    assert!(!record.revoke(op(3), at("2026-03-01T00:00:00Z")));
    let error = record.update(op(3), new_token(), later()).unwrap_err();
    assert_eq!(error.to_string(), "the token was revoked at 2026-02-01T00:00:00Z and stays so: make a new one");
    assert_eq!(record, revoked);
    assert_eq!((record.rev, record.revoked_at), (2, Some(at("2026-02-01T00:00:00Z"))));
}

#[test]
fn later_versions() {
    let mut stored: serde_json::Value =
        serde_json::from_slice(&TokenRecord::new(op(1), new_token(), at("2026-01-01T00:00:00Z")).to_bytes()).unwrap();
    stored["team"] = json!("payments");
    let mut record = TokenRecord::parse(stored.to_string().as_bytes()).unwrap();
    record.revoke(op(2), at("2026-02-01T00:00:00Z"));
    assert!(String::from_utf8(record.to_bytes()).unwrap().contains("\"team\":\"payments\""));
    // What would narrow a grant must not be overlooked: such a token gives nothing.
    stored["grants"][0]["versions"] = json!("<2");
    let error = TokenRecord::parse(stored.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("unknown field `versions`"), "{error}");
}

#[test]
fn refusals() {
    let check = |edit: fn(&mut NewToken)| {
        let mut token = new_token();
        edit(&mut token);
        token.check().map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert!(check(|t| t.description = "x".repeat(2000)).unwrap_err().contains("2000 bytes"));
    assert!(check(|t| t.grants.clear()).unwrap_err().contains("could do nothing"));
    assert!(check(|t| t.grants[0].verbs.clear()).unwrap_err().contains("could do nothing"));
    assert!(check(|t| t.grants[0].crates.clear()).unwrap_err().contains("could do nothing"));
    assert!(check(|t| t.grants = vec![t.grants[0].clone(); 300]).unwrap_err().contains("300 grants"));
    assert!(check(|t| t.grants[0].crates = vec![CratePattern::all(); 300]).unwrap_err().contains("300 grants"));
    for body in [
        json!({ "user": "ci" }),
        json!({ "user": "", "grants": [] }),
        json!({ "user": "ci", "grants": [], "expires": "2027-01-01T00:00:00Z" }),
        json!({ "user": "ci", "grants": [], "expires_at": "tomorrow" }),
    ] {
        assert!(serde_json::from_value::<NewToken>(body.clone()).is_err(), "{body}");
    }
    for bytes in [&b""[..], b"{}", b"\xff"] {
        assert!(matches!(TokenRecord::parse(bytes), Err(TokenRecordError::Json(_))));
    }
    let long = vec![b' '; TOKEN_RECORD_BYTES_MAX + 1];
    assert!(matches!(TokenRecord::parse(&long), Err(TokenRecordError::TooLong { .. })));
}
