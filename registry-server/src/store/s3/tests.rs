//! Against the strict server: what each answer of S3, and each fault on the wire, becomes.

use std::io::Write as _;
use std::time::Duration;

use futures::FutureExt as _;

use super::*;
use crate::store::s3_server::{Fault, Lie, S3Server};
use crate::store::{KeyPrefix, Refused, SpooledFile, Ulid};

fn key(name: &str) -> Key {
    Key::probe(Ulid::from_parts(1, 1), name).unwrap()
}

fn body(text: &'static str) -> Body {
    Bytes::from_static(text.as_bytes()).into()
}

async fn start() -> (S3Server, S3Store) {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let store = server.store().await.unwrap();
    (server, store)
}

/// How a put ended, in short.
fn told(put: &Put) -> String {
    match put {
        Put::Stored(_) => "stored".to_owned(),
        Put::Refused(how) => format!("refused {how:?}"),
        Put::NotSent(err) => format!("not sent {:?}", err.kind()),
        Put::Unknown(err) => format!("unknown {:?}", err.kind()),
    }
}

#[tokio::test]
async fn every_answer_to_a_conditional_put_has_its_outcome() {
    let (server, store) = start().await;
    for (fault, expected) in [
        (Fault::Status(412, "PreconditionFailed"), "refused Precondition"),
        (Fault::Status(409, "ConditionalRequestConflict"), "refused Conflict"),
        (Fault::Status(409, "OperationAborted"), "refused Conflict"),
        (Fault::Status(404, "NoSuchKey"), "refused Missing"),
        (Fault::Status(404, "NoSuchBucket"), "not sent NoBucket"),
        (Fault::Status(404, "XAdminUserNotFound"), "not sent Denied"),
        (Fault::Html(404), "not sent Rejected"),
        (Fault::Status(301, "PermanentRedirect"), "not sent NoBucket"),
        (Fault::Status(307, "TemporaryRedirect"), "not sent NoBucket"),
        (Fault::Status(401, "Unauthorized"), "not sent Denied"),
        (Fault::Status(403, "AccessDenied"), "not sent Denied"),
        (Fault::Status(403, "SignatureDoesNotMatch"), "not sent Denied"),
        (Fault::Status(400, "ExpiredToken"), "not sent Denied"),
        (Fault::Status(400, "BadDigest"), "not sent Corrupt"),
        (Fault::Status(400, "RequestTimeout"), "not sent Unavailable"),
        (Fault::Status(400, "InvalidArgument"), "not sent Rejected"),
        (Fault::Status(405, "MethodNotAllowed"), "not sent Rejected"),
        (Fault::Status(411, "MissingContentLength"), "not sent Rejected"),
        (Fault::Status(413, "EntityTooLarge"), "not sent Rejected"),
        (Fault::Status(429, "TooManyRequests"), "not sent Throttled"),
        (Fault::Status(503, "SlowDown"), "not sent Throttled"),
        (Fault::Status(500, "InternalError"), "unknown Unavailable"),
        (Fault::Status(501, "NotImplemented"), "not sent Rejected"),
        (Fault::Status(502, "BadGateway"), "unknown Unavailable"),
        (Fault::Status(503, "ServiceUnavailable"), "unknown Unavailable"),
        (Fault::Status(504, "GatewayTimeout"), "unknown Unavailable"),
        (Fault::Html(502), "unknown Unavailable"),
        (Fault::Html(403), "not sent Denied"),
        (Fault::Html(412), "refused Precondition"),
        (Fault::Reset, "unknown Unavailable"),
    ] {
        server.clear_requests();
        server.inject("PUT", "answer", fault.clone(), 1);
        let put = store.put(&key("answer"), body("x"), Cond::Absent).await;
        assert_eq!(told(&put), expected, "{fault:?}: {put:?}");
        assert_eq!(server.requests().len(), 1, "{fault:?}: a conditional put is sent once");
        assert_eq!(server.stored(&key("answer")), None);
    }
}

#[tokio::test]
async fn a_writer_whose_put_is_repeated_takes_its_own_success_for_a_defeat() {
    let (server, store) = start().await;
    let repeating = store.clone().without(S3Mutant::ConditionalPutRepeated);
    for (store, name, expected) in
        [(store, "once", "unknown Unavailable"), (repeating, "repeated", "refused Precondition")]
    {
        server.inject("PUT", name, Fault::LoseReply, 1);
        let put = store.put(&key(name), body("x"), Cond::Absent).await;
        assert_eq!(told(&put), expected, "{name}: {put:?}");
        assert_eq!(server.stored(&key(name)).as_deref(), Some(&b"x"[..]), "{name}: it is stored all the same");
    }
}

/// Every status from 300 to 599 on every call: none is ever read as a success, or as "there is no such object".
#[tokio::test]
async fn no_status_is_taken_for_success() {
    let (server, store) = start().await;
    for status in (300..600).filter(|status| *status != 304) {
        server.inject("PUT", "status", Fault::Status(status, "Whatever"), usize::MAX);
        let put = store.put(&key("status"), body("x"), Cond::Matches(Etag::new("e"))).await;
        assert!(!matches!(put, Put::Stored(_)), "{status}: {put:?}");
    }
    assert_eq!(server.stored(&key("status")), None);
    // The others are repeated, with pauses: all statuses at once.
    let asked = (300..600).filter(|status| *status != 304).map(|status| {
        let (server, store) = (&server, &store);
        async move {
            let run = Ulid::from_parts(status.into(), 1);
            let key = Key::probe(run, "x").unwrap();
            for method in ["GET", "DELETE"] {
                server.inject(method, &run.to_string(), Fault::Status(status, "Whatever"), usize::MAX);
            }
            assert!(store.get(&key, None).await.is_err(), "get: {status}");
            assert!(store.get(&key, Some(&Etag::new("e"))).await.is_err(), "get if it has changed: {status}");
            assert!(store.list(&Prefix::Probe(run), None).await.is_err(), "list: {status}");
            assert!(store.delete(&key).await.is_err(), "delete: {status}");
        }
    });
    futures::future::join_all(asked).await;
}

#[tokio::test]
async fn a_lost_reply_is_unknown_and_is_not_repeated() {
    let (server, store) = start().await;
    server.inject("PUT", "lost", Fault::LoseReply, 1);
    let put = store.put(&key("lost"), body("mine"), Cond::Absent).await;
    assert_eq!(told(&put), "unknown Unavailable", "{put:?}");
    assert_eq!(server.stored(&key("lost")).unwrap(), "mine", "it has landed all the same");
    assert_eq!(server.requests().iter().filter(|r| r.method == "PUT").count(), 1);
}

#[tokio::test]
async fn unconditional_calls_are_repeated() {
    let (server, store) = start().await;
    for fault in [Fault::LoseReply, Fault::Reset, Fault::Status(500, "InternalError"), Fault::Status(503, "SlowDown")] {
        for method in ["PUT", "GET", "DELETE"] {
            server.inject(method, "repeat", fault.clone(), 1);
        }
        let put = store.put(&key("repeat"), body("x"), Cond::Any).await;
        assert_eq!(told(&put), "stored", "{fault:?}: {put:?}");
        assert!(matches!(store.get(&key("repeat"), None).await.unwrap(), Get::Found(_)), "{fault:?}");
        store.delete(&key("repeat")).await.unwrap();
        assert!(matches!(store.get(&key("repeat"), None).await.unwrap(), Get::Missing), "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let mut config = server.config();
    config.timeouts.attempt = Duration::from_millis(300);
    let store = S3Store::connect(config).await.unwrap();
    server.inject("PUT", "", Fault::Late, 1);
    let put = store.put(&key("late"), body("x"), Cond::Absent).await;
    assert_eq!(told(&put), "unknown Unavailable", "{put:?}");
    assert_eq!(server.stored(&key("late")), None, "not yet");
    server.release();
    // It lands later: that is what `Unknown` means.
    while server.stored(&key("late")).is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    for endpoint in ["http://127.0.0.1:1", "http://nowhere.invalid:9000"] {
        let mut config = server.config();
        config.endpoint = Some(endpoint.to_owned());
        let store = S3Store::connect(config).await.unwrap();
        let put = store.put(&key("x"), body("x"), Cond::Absent).await;
        assert_eq!(told(&put), "not sent Unavailable", "{put:?}");
        let Put::NotSent(err) = put else { unreachable!() };
        assert!(err.message().contains(endpoint) && err.message().contains("`registry`"), "{err}");
    }
}

#[tokio::test]
async fn missing_credentials_are_named_and_nothing_is_sent() {
    let (server, store) = start().await;
    std::fs::remove_file(server.credentials_dir().join("AWS_SECRET_ACCESS_KEY")).unwrap();
    let put = store.put(&key("x"), body("x"), Cond::Absent).await;
    assert_eq!(told(&put), "not sent Denied", "{put:?}");
    let Put::NotSent(err) = put else { unreachable!() };
    assert!(err.message().contains("AWS_SECRET_ACCESS_KEY is missing or empty"), "{err}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn rotated_credentials_cost_no_failed_put() {
    let (server, store) = start().await;
    assert_eq!(told(&store.put(&key("before"), body("x"), Cond::Absent).await), "stored");
    server.write_credentials("new-key", "new-secret").unwrap();
    server.set_credentials("new-key", "new-secret");
    // The old ones are still held: the server refuses them, the directory has others, and the put goes out again.
    assert_eq!(told(&store.put(&key("after"), body("x"), Cond::Absent).await), "stored");
    server.set_credentials("third-key", "third-secret");
    let put = store.put(&key("wrong"), body("x"), Cond::Absent).await;
    assert_eq!(told(&put), "not sent Denied", "{put:?}");
    let Put::NotSent(err) = put else { unreachable!() };
    assert!(err.message().contains("InvalidAccessKeyId") && !err.message().contains("new-secret"), "{err}");
}

#[tokio::test]
async fn a_cut_answer_is_an_error_not_a_short_object() {
    let (server, store) = start().await;
    server.plant(&key("cut").to_string(), vec![7; 100_000]);
    server.inject("GET", "cut", Fault::CutBody, 1);
    let Get::Found(object) = store.get(&key("cut"), None).await.unwrap() else { panic!() };
    match object.bytes(1_000_000).await {
        Err(err) => assert_eq!(err.kind(), StoreErrorKind::Unavailable, "{err}"),
        Ok(bytes) => panic!("{} bytes", bytes.len()),
    }
}

fn spool(bytes: &[u8], announced: &[u8]) -> Body {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let digest = Sha256Digest::of(announced);
    SpooledFile::new(file.into_temp_path(), announced.len() as u64, digest).into()
}

/// On a server that publishes what arrived of a body that nothing covers, as versitygw 1.8.0 did.
#[tokio::test]
async fn a_cut_upload_never_becomes_an_object() {
    let server = S3Server::start(Lie::KeepsCutBodies).await.unwrap();
    let store = server.store().await.unwrap();
    let whole = vec![7; 3_000_000];
    // The file is shorter than it was: the upload ends too early.
    let put = store.put(&key("short"), spool(&whole[..1_000_000], &whole), Cond::Any).await;
    assert!(!matches!(put, Put::Stored(_)), "{put:?}");
    // As long, but other bytes.
    let put = store.put(&key("other"), spool(&vec![8; 3_000_000], &whole), Cond::Absent).await;
    assert_eq!(told(&put), "not sent Corrupt", "{put:?}");
    // The client goes away in the middle.
    let (handed_over, half_sent) = oneshot::channel();
    let never = futures::future::pending().boxed();
    let gone = key("gone");
    let stalled = store.put_stalled(&gone, whole.clone().into(), Cond::Absent, handed_over, never);
    tokio::select! {
        put = stalled => panic!("{put:?}"),
        half = half_sent => half.unwrap(),
    }
    // The server has noticed when it answers the next request over a new connection; give it the chance to publish.
    for _ in 0..20 {
        assert_eq!(told(&store.put(&key("next"), body("x"), Cond::Any).await), "stored");
    }
    assert_eq!(server.object_keys(), [key("next").to_string()]);
    // What is whole is stored, and covered by its digest.
    assert_eq!(told(&store.put(&key("whole"), spool(&whole, &whole), Cond::Absent).await), "stored");
    assert_eq!(server.stored(&key("whole")).unwrap(), whole);
    let sent = server.requests().into_iter().rfind(|r| r.path.ends_with("/whole")).unwrap();
    assert!(sent.header("x-amz-checksum-sha256").is_some(), "{sent:?}");
    assert!(sent.header("x-amz-trailer").is_none() && sent.header("content-encoding").is_none(), "{sent:?}");
}

#[tokio::test]
async fn what_goes_over_the_wire_is_plain() {
    let (server, store) = start().await;
    let blob = Key::blob("foo_bar", &"1.0.0-rc.1+b".parse().unwrap(), Sha256Digest::of(b""), Ulid::from_parts(1, 1));
    let Put::Stored(etag) = store.put(&blob.clone().unwrap(), body("bytes"), Cond::Absent).await else { panic!() };
    let put = store.put(&blob.clone().unwrap(), body("more"), Cond::Matches(etag.clone())).await;
    assert_eq!(told(&put), "stored");
    let sent = server.requests();
    assert!(sent.iter().all(|r| !r.path.contains('%')), "no key needs an escape: {sent:?}");
    assert_eq!(sent[0].path, format!("/registry/{}", blob.unwrap()));
    assert_eq!(sent[0].header("if-none-match"), Some("*"));
    assert_eq!(sent[1].header("if-match"), Some(format!("\"{etag}\"").as_str()));
    for request in sent {
        let digest = request.header("x-amz-content-sha256").unwrap();
        assert_eq!(digest.len(), 64, "signed with its bytes: {request:?}");
        assert!(request.header("x-amz-checksum-crc32").is_none() && request.header("x-amz-trailer").is_none());
    }
}

#[tokio::test]
async fn foreign_objects_are_counted_and_left_alone() {
    let (server, store) = start().await;
    for stranger in ["v1/crate/8b/README.txt", "v1/crate/00/serde", "elsewhere"] {
        server.plant(stranger, "x");
    }
    assert_eq!(told(&store.put(&Key::krate("serde").unwrap(), body("x"), Cond::Absent).await), "stored");
    let page = store.list(&Prefix::Crates, None).await.unwrap();
    assert_eq!(page.entries.iter().map(|e| e.key.to_string()).collect::<Vec<_>>(), ["v1/crate/8b/serde"]);
    assert_eq!(page.foreign.len(), 2, "{page:?}");
}

#[tokio::test]
async fn wrong_configurations_are_told_before_anything_is_sent() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let (empty, garbage) = (write("empty.pem", "# nothing"), write("garbage.pem", BAD_PEM));
    let change: [(&str, Box<dyn Fn(&mut S3Config)>); 9] = [
        ("`Up`", Box::new(|c| c.bucket = "Up".to_owned())),
        ("region is empty", Box::new(|c| c.region.clear())),
        ("http:// or https://", Box::new(|c| c.endpoint = Some("ftp://x".to_owned()))),
        ("s3.example.com", Box::new(|c| c.endpoint = Some("not a url".to_owned()))),
        ("credentials do not belong", Box::new(|c| c.endpoint = Some("http://user:secret@host".to_owned()))),
        ("must end with the host", Box::new(|c| c.endpoint = Some("http://host/bucket".to_owned()))),
        ("No such file", Box::new(|c| c.ca_bundle_file = Some("/nonexistent.pem".into()))),
        ("no certificate in it", Box::new(move |c| c.ca_bundle_file = Some(empty.clone()))),
        ("garbage.pem", Box::new(move |c| c.ca_bundle_file = Some(garbage.clone()))),
    ];
    for (part, change) in change {
        let mut config = server.config();
        change(&mut config);
        let checked = S3Store::check(&config).unwrap_err().to_string();
        let message = S3Store::connect(config).await.unwrap_err().to_string();
        assert!(message.contains(part) && !message.contains("secret"), "{part}: {message}");
        assert_eq!(checked, message);
    }
    assert!(server.requests().is_empty());
}

const BAD_PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    // Two providers are never compiled in, but a build of everything may have more features than this crate asks for.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key_der = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key_der)
        .unwrap();
    let server = S3Server::start_tls(Lie::Honest, Arc::new(tls)).await.unwrap();

    let stranger = server.store().await.unwrap();
    let put = stranger.put(&key("tls"), body("x"), Cond::Absent).await;
    assert_eq!(told(&put), "not sent Unavailable", "{put:?}");
    let Put::NotSent(err) = put else { unreachable!() };
    assert!(err.message().contains("certificate"), "{err}");

    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ca.crt");
    std::fs::write(&pem, issued.cert.pem()).unwrap();
    let mut config = server.config();
    config.ca_bundle_file = Some(pem);
    config.prefix = KeyPrefix::parse("tls").unwrap();
    let store = S3Store::connect(config).await.unwrap();
    assert_eq!(told(&store.put(&key("tls"), body("x"), Cond::Absent).await), "stored");
    assert_eq!(
        told(&store.put(&key("tls"), body("x"), Cond::Absent).await),
        format!("refused {:?}", Refused::Precondition)
    );
}

/// A store may be honest at each of its addresses and not between them, so the proof has to reach them all.
#[test]
fn witnesses_talk_to_every_address_behind_a_name() {
    let shuffles = [["10.0.0.2", "10.0.0.1", "10.0.0.3"], ["10.0.0.3", "10.0.0.2", "10.0.0.1"]];
    let first = |witness: usize| {
        let addresses = shuffles[witness % 2].map(|address| address.parse().expect("an address"));
        super::client::turned(addresses.to_vec(), witness)[0].to_string()
    };
    let reached: std::collections::BTreeSet<_> = (1..4).map(first).collect();
    assert_eq!(reached.len(), 3, "{reached:?}");
    assert!(super::client::turned(Vec::new(), 3).is_empty());
}

#[tokio::test]
async fn a_part_is_asked_for_as_such() {
    let (server, store) = start().await;
    assert_eq!(told(&store.put(&key("part"), body("0123456789"), Cond::Absent).await), "stored");
    server.clear_requests();
    let part = store.get_part(&key("part"), 2..5).await.unwrap().expect("it is there");
    assert_eq!(part.len, 10);
    let bytes: Vec<Bytes> = futures::TryStreamExt::try_collect(part.body).await.unwrap();
    assert_eq!(bytes.concat(), b"234");
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!((requests[0].header("range"), requests[0].status), (Some("bytes=2-4"), Some(206)));
}
