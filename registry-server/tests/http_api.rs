//! The routes over a store in memory: every answer, and the keys that it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use supercargo_registry::access::Verb;
use supercargo_registry::ambient::Entropy;
use supercargo_registry::http::{PublicState, at_once, public_routes};
use supercargo_registry::krate::packed::{Packed, body};
use supercargo_registry::registry::Registry;
use supercargo_registry::store::MemoryStore;
use tower::ServiceExt;

/// The public routes over a fresh store.
struct Api {
    store: Arc<MemoryStore>,
    registry: Arc<Registry>,
    state: PublicState,
    /// Answers that memory had, since the last look.
    at_once: AtomicU32,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The detail of an error, after a look at its form.
    fn detail(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        let json = self.json();
        assert_eq!(json["errors"].as_array().map(Vec::len), Some(1), "{json}");
        json["errors"][0]["detail"].as_str().expect("a text").to_owned()
    }
}

impl Api {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(toml: &str) -> Self {
        let store = Arc::new(MemoryStore::new());
        let config = support::config(&format!("[storage]\nkind = \"memory\"\n{toml}"));
        let storage = supercargo_registry::registry::Storage::Trusted(store.clone());
        let registry = Registry::new(
            &storage,
            config.visibility,
            supercargo_registry::ambient::Clock::system(),
            Entropy::seeded(7),
        );
        registry.open().await.expect("a new registry");
        let registry = Arc::new(registry);
        Self { store, state: PublicState::new(registry.clone(), &config), registry, at_once: AtomicU32::default() }
    }

    async fn token(&self, user: &str) -> String {
        use Verb::{Owners, PublishNew, PublishUpdate, Read, Yank};
        self.token_with(user, &[Read, PublishNew, PublishUpdate, Yank, Owners], &["*"]).await
    }

    async fn token_with(&self, user: &str, verbs: &[Verb], crates: &[&str]) -> String {
        support::mint(&self.registry, &Entropy::from_os(), user, verbs, crates).await
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        let request = request.header("host", "crates.example").body(Full::new(body.into())).expect("a request");
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
        let response = warp::service(public_routes(&self.state)).oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body arrives").to_bytes();
        // What may be answered at once is answered in the same way as by the routes.
        if uri.path().starts_with("/index/")
            && let Some((at_once, _)) = at_once(&self.state, &method, &uri, &headers)
        {
            self.at_once.fetch_add(1, Ordering::Relaxed);
            let asked = format!("{method} {uri} {headers:?}");
            assert_eq!(at_once.status(), parts.status, "{asked}");
            assert_eq!(at_once.headers(), &parts.headers, "{asked}");
            assert_eq!(at_once.body(), &body, "{asked}");
        }
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(with(Method::GET, path, token), "").await
    }

    async fn publish(&self, krate: &Packed, token: &str) -> Answer {
        self.send(with(Method::PUT, "/api/v1/crates/new", Some(token)), krate.body()).await
    }

    async fn keys(&self) -> Vec<String> {
        support::keys(&self.store).await
    }
}

fn with(method: Method, path: &str, token: Option<&str>) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    match token {
        Some(token) => request.header("authorization", token),
        None => request,
    }
}

const TOKEN: &str = "v1/token/*";

#[tokio::test]
async fn what_memory_knows_is_answered_at_once_and_in_the_same_words() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    assert_eq!(api.publish(&Packed::new("some-name", "1.0.0"), &token).await.status, 200);
    let stranger = api.token_with("eve", &[Verb::Read], &["other*"]).await;
    let etag = api.get("/index/so/me/some-name", Some(&token)).await.headers["etag"].clone();
    let count = || api.at_once.swap(0, Ordering::Relaxed);
    for (path, status) in [
        ("/index/config.json", 200),
        ("/index/so/me/some-name", 200),
        ("/index/so/me/some_name", 404),
        ("/index/so/me/Some-name", 404),
        ("/index/ne/ve/never-was", 404),
        ("/index/no/where/some-name", 404),
    ] {
        for token in [token.as_str(), stranger.as_str(), "scg_rubbish"] {
            let status = match (token, path) {
                ("scg_rubbish", _) => 401,
                (token, "/index/so/me/some-name") if token == stranger => 404,
                _ => status,
            };
            for method in [Method::GET, Method::HEAD] {
                count();
                let gzip = with(method.clone(), path, Some(token)).header("accept-encoding", "gzip");
                assert_eq!(api.send(gzip, "").await.status, status, "{method} {path}");
                assert_eq!(count(), 1, "{method} {path} as {token}");
            }
        }
        count();
        assert_eq!(api.get(path, None).await.status, 401);
        assert_eq!(count(), 1, "{path} as nobody");
    }
    let known = with(Method::GET, "/index/so/me/some-name", Some(&token)).header("if-none-match", etag);
    assert_eq!((api.send(known, "").await.status.as_u16(), count()), (304, 1));
    // What is for the routes to say.
    for path in ["/index/config.json/", "/index", "/indexes/config.json", "/index//config.json"] {
        api.get(path, Some(&token)).await;
        assert_eq!(count(), 0, "{path}");
    }
    assert_eq!((api.get("/index/so/me/some-name", Some(&token)).await.status.as_u16(), count()), (200, 0), "inflated");
    api.send(with(Method::POST, "/index/config.json", Some(&token)), "").await;
    assert_eq!(count(), 0, "a wrong method");
}

#[tokio::test]
async fn a_publish_stores_one_blob_and_one_record_and_shows_in_the_index() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    let krate = Packed::new("Foo-Bar", "1.0.0+build.5");
    let answer = api.publish(&krate, &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({ "warnings": { "invalid_categories": [], "invalid_badges": [], "other": [] } }));
    let stored = [
        "v1/crate/7a/foo_bar".replace("7a", &hash2("foo_bar")),
        TOKEN.into(),
        "v1/blob/foo_bar/1.0.0_build.5/*".into(),
    ];
    assert_eq!(api.keys().await, stored);

    let index = api.get("/index/fo/o-/foo-bar", Some(&token)).await;
    assert_eq!(index.status, 200);
    assert_eq!(index.header("content-type"), "text/plain; charset=utf-8");
    let text = index.text();
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with('\n'), "{text:?}");
    let line: Value = serde_json::from_str(&text).expect("a line");
    assert_eq!((&line["name"], &line["vers"]), (&json!("Foo-Bar"), &json!("1.0.0+build.5")));
    assert_eq!(line["cksum"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(krate.krate())));
    assert_eq!(line["pubtime"].as_str().map(str::len), Some(20));

    // `+` arrives raw from Cargo, and escaped from some proxies.
    for path in ["/api/v1/crates/Foo-Bar/1.0.0+build.5/download", "/api/v1/crates/foo_bar/1.0.0%2Bbuild.5/download"] {
        let download = api.get(path, Some(&token)).await;
        assert_eq!(download.status, 200, "{path}: {}", download.text());
        assert_eq!(download.body, krate.krate(), "{path}");
        assert_eq!(download.header("content-length"), krate.krate().len().to_string());
    }
}

fn hash2(canonical: &str) -> String {
    hex::encode(<sha2::Sha256 as sha2::Digest>::digest(canonical))[..2].to_owned()
}

#[tokio::test]
async fn the_index_is_served_gzip_as_stored_and_revalidates() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    api.publish(&Packed::new("abcd", "1.0.0"), &token).await;
    let plain = api.get("/index/ab/cd/abcd", Some(&token)).await;
    let etag = plain.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.is_ascii(), "{etag}");
    assert_eq!(plain.header("cache-control"), "private, no-cache");
    assert!(plain.header("vary").contains("accept-encoding"));

    let zipped = api
        .send(with(Method::GET, "/index/ab/cd/abcd", Some(&token)).header("accept-encoding", "deflate, gzip"), "")
        .await;
    assert_eq!((zipped.header("content-encoding"), zipped.header("etag")), ("gzip", etag.as_str()));
    let mut inflated = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut inflated).expect("gzip");
    assert_eq!(inflated, plain.text());

    let same = api.send(with(Method::GET, "/index/ab/cd/abcd", Some(&token)).header("if-none-match", &etag), "").await;
    assert_eq!((same.status.as_u16(), same.body.len(), same.header("etag")), (304, 0, etag.as_str()));

    let yank = api.send(with(Method::DELETE, "/api/v1/crates/abcd/1.0.0/yank", Some(&token)), "").await;
    assert_eq!((yank.status.as_u16(), yank.json()), (200, json!({ "ok": true })));
    let changed =
        api.send(with(Method::GET, "/index/ab/cd/abcd", Some(&token)).header("if-none-match", &etag), "").await;
    assert_eq!(changed.status, 200);
    assert!(changed.text().contains("\"yanked\":true"), "{}", changed.text());
    let unyank = api.send(with(Method::PUT, "/api/v1/crates/abcd/1.0.0/unyank", Some(&token)), "").await;
    assert_eq!(unyank.status, 200);
    assert_eq!(api.get("/index/ab/cd/abcd", Some(&token)).await.text(), plain.text(), "only the flag ever changes");
}

#[tokio::test]
async fn what_cannot_be_an_index_file_is_404() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    api.publish(&Packed::new("foo-bar", "1.0.0"), &token).await;
    for path in [
        "fo/o_/foo_bar",
        "fo/o-/FOO-BAR",
        "foo-bar",
        "xx/yy/foo-bar",
        "",
        "../../etc/passwd",
        "fo/o-/foo-bar/",
        "1/ab",
        "co/nf/config.json",
    ] {
        let answer = api.get(&format!("/index/{path}"), Some(&token)).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_private_registry_challenges_and_a_public_one_lets_read() {
    let api = Api::new().await;
    let answer = api.get("/index/config.json", None).await;
    answer.detail(401);
    assert_eq!(answer.header("www-authenticate"), "Cargo login_url=\"http://crates.example/me\"");
    let token = api.token("ann").await;
    for credential in [token.clone(), format!("Bearer {token}"), format!("bearer  {token}")] {
        let config = api.get("/index/config.json", Some(&credential)).await;
        assert_eq!(config.status, 200, "{}", config.text());
        let dl = "http://crates.example/api/v1/crates/{crate}/{version}/download";
        assert_eq!(config.json(), json!({ "dl": dl, "api": "http://crates.example", "auth-required": true }));
    }

    let public = Api::with("[access]\nvisibility = \"public\"\n").await;
    let config = public.get("/index/config.json", None).await;
    assert_eq!(config.json().get("auth-required"), None);
    let token = public.token("ann").await;
    public.publish(&Packed::new("abcd", "1.0.0"), &token).await;
    for path in [
        "/index/ab/cd/abcd",
        "/api/v1/crates?q=abcd",
        "/api/v1/crates/abcd/1.0.0/download",
        "/api/v1/crates/abcd/owners",
    ] {
        assert_eq!(public.get(path, None).await.status, 200, "{path}");
    }
    let answer = public.send(with(Method::DELETE, "/api/v1/crates/abcd/1.0.0/yank", None), "").await;
    answer.detail(401);
}

#[tokio::test]
async fn tokens_that_do_not_hold_are_told_why() {
    let api = Api::new().await;
    let good = api.token("ann").await;
    let unknown = Entropy::from_os().with(supercargo_registry::access::TokenSecret::generate);
    let mut mistyped = good.clone();
    let last = if mistyped.pop() == Some('0') { '1' } else { '0' };
    mistyped.push(last);
    for (token, part) in
        [("secret", "scg_"), (&good[..30], "53"), (&mistyped, "mistyped"), (unknown.expose(), "does not know")]
    {
        let index = api.get("/index/config.json", Some(token)).await;
        assert!(index.detail(401).contains(part), "{}", index.text());
        assert!(index.header("www-authenticate").starts_with("Cargo login_url"));
        let write = api.send(with(Method::DELETE, "/api/v1/crates/a/1.0.0/yank", Some(token)), "").await;
        assert!(write.detail(403).contains(part), "{}", write.text());
        assert!(!index.text().contains(token) || token.len() < 10, "an answer repeats a token");
    }
    let twice = with(Method::GET, "/index/config.json", Some(&good)).header("authorization", "other");
    api.send(twice, "").await.detail(401);
}

#[tokio::test]
async fn a_revoked_token_ends_at_once() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    assert_eq!(api.get("/index/config.json", Some(&token)).await.status, 200);
    let hash = supercargo_registry::access::TokenSecret::parse(&token).expect("a token").hash();
    api.registry.revoke_token(hash).await.expect("revoked");
    let detail = api.get("/index/config.json", Some(&token)).await.detail(401);
    assert!(detail.contains("revoked"), "{detail}");
}

#[tokio::test]
async fn the_same_bytes_again_are_a_success_without_a_write_and_others_are_refused() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    let krate = Packed::new("abcd", "1.0.0");
    api.publish(&krate, &token).await;
    let before = (api.keys().await, api.get("/index/ab/cd/abcd", Some(&token)).await.text());
    assert_eq!(api.publish(&krate, &token).await.status, 200);
    let detail = api.publish(&krate.clone().with_source("pub fn g() {}"), &token).await.detail(409);
    assert!(detail.contains("1.0.0") && detail.contains("published already"), "{detail}");
    let detail = api.publish(&Packed::new("abcd", "1.0.0+meta"), &token).await.detail(409);
    assert!(detail.contains("does not count"), "{detail}");
    assert_eq!((api.keys().await, api.get("/index/ab/cd/abcd", Some(&token)).await.text()), before);
}

#[tokio::test]
async fn another_spelling_of_a_name_is_told_the_right_one() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    api.publish(&Packed::new("foo-bar", "1.0.0"), &token).await;
    let before = api.keys().await;
    for other in ["foo_bar", "Foo-Bar"] {
        let detail = api.publish(&Packed::new(other, "1.0.1"), &token).await.detail(409);
        assert!(detail.contains("`foo-bar`"), "{detail}");
    }
    assert_eq!(api.keys().await, before);
}

#[tokio::test]
async fn refused_uploads_leave_nothing() {
    let api = Api::with("[limits]\ncrate_bytes_max = 2000\nmetadata_bytes_max = 3000\n").await;
    let token = api.token("ann").await;
    let good = Packed::new("abcd", "1.0.0");
    let metadata = good.metadata.to_string();
    let mut other_name = good.clone();
    other_name.metadata["name"] = json!("other");
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("empty", vec![], 400, "ends within"),
        ("cut in the JSON", good.body()[..50].to_vec(), 400, "ends within the metadata"),
        ("cut in the crate", good.body()[..good.body().len() - 1].to_vec(), 400, "ends within the crate"),
        ("more behind it", [good.body(), vec![0]].concat(), 400, "goes on after"),
        ("long JSON", body(&[b' '; 4000], b"x"), 413, "3000"),
        ("long crate", body(metadata.as_bytes(), &[0; 2001]), 413, "2000"),
        ("a length that lies", u32::MAX.to_le_bytes().to_vec(), 413, "4294967295"),
        ("no JSON", body(b"{", &good.krate()), 400, "not what Cargo sends"),
        ("no gzip", body(metadata.as_bytes(), b"hello"), 400, ""),
        ("another name in the JSON", other_name.body(), 400, "abcd"),
        ("reserved", Packed::new("con", "1.0.0").body(), 400, "con"),
        ("odd name", Packed::new("über", "1.0.0").body(), 400, "ü"),
        ("odd version", Packed::new("abcd", "1.0").body(), 400, "1.0"),
    ];
    for (case, bytes, status, part) in cases {
        let answer = api.send(with(Method::PUT, "/api/v1/crates/new", Some(&token)), bytes).await;
        let detail = answer.detail(status);
        assert!(detail.contains(part), "{case}: {detail}");
        assert_eq!(api.keys().await, [TOKEN], "{case}");
    }
}

#[tokio::test]
async fn owners_are_listed_added_and_removed() {
    let api = Api::new().await;
    let (ann, bob) = (api.token("ann").await, api.token("bob").await);
    api.publish(&Packed::new("abcd", "1.0.0"), &ann).await;
    let path = "/api/v1/crates/abcd/owners";
    let listed = api.get(path, Some(&bob)).await.json();
    assert_eq!(listed["users"].as_array().map(Vec::len), Some(1));
    assert!(listed["users"][0]["id"].is_u64() && listed["users"][0]["login"] == "ann", "{listed}");

    let refused = api.publish(&Packed::new("abcd", "1.1.0"), &bob).await.detail(403);
    assert!(refused.contains("`bob` is not an owner") && refused.contains("`ann`"), "{refused}");

    let users = |logins: &[&str]| json!({ "users": logins }).to_string();
    let added = api.send(with(Method::PUT, path, Some(&ann)), users(&["bob"])).await;
    assert_eq!(added.json(), json!({ "ok": true, "msg": "`bob` is now an owner of `abcd`" }));
    assert_eq!(api.publish(&Packed::new("abcd", "1.1.0"), &bob).await.status, 200);
    let removed = api.send(with(Method::DELETE, path, Some(&bob)), users(&["ann"])).await;
    assert_eq!(removed.json(), json!({ "ok": true, "msg": "`ann` is no longer an owner of `abcd`" }));
    let last = api.send(with(Method::DELETE, path, Some(&bob)), users(&["bob"])).await.detail(409);
    assert!(last.contains("no owner left"), "{last}");
    api.send(with(Method::PUT, path, Some(&bob)), users(&[])).await.detail(400);
    api.send(with(Method::PUT, path, Some(&bob)), users(&["a b"])).await.detail(400);
    api.send(with(Method::PUT, path, Some(&bob)), "x".repeat(100_000)).await.detail(413);
}

#[tokio::test]
async fn a_crate_that_one_may_not_read_looks_like_none() {
    let api = Api::new().await;
    let ann = api.token("ann").await;
    api.publish(&Packed::new("secret", "1.0.0"), &ann).await;
    api.publish(&Packed::new("open", "1.0.0"), &ann).await;
    let bob = api.token_with("bob", &[Verb::Read, Verb::Yank, Verb::PublishNew, Verb::PublishUpdate], &["open"]).await;
    for (method, hidden, absent) in [
        (Method::GET, "/index/se/cr/secret", "/index/ab/se/absent"),
        (Method::GET, "/api/v1/crates/secret/1.0.0/download", "/api/v1/crates/absent/1.0.0/download"),
        (Method::GET, "/api/v1/crates/secret/owners", "/api/v1/crates/absent/owners"),
        (Method::DELETE, "/api/v1/crates/secret/1.0.0/yank", "/api/v1/crates/absent/1.0.0/yank"),
    ] {
        let hidden = api.send(with(method.clone(), hidden, Some(&bob)), "").await;
        let absent = api.send(with(method, absent, Some(&bob)), "").await;
        assert_eq!(hidden.status, 404, "{}", hidden.text());
        assert_eq!(hidden.text().replace("secret", "absent"), absent.text());
        assert_eq!(hidden.headers, absent.headers);
    }
    let found = api.get("/api/v1/crates?q=", Some(&bob)).await.json();
    assert_eq!(found["meta"]["total"], 1, "{found}");
    assert_eq!(found["crates"][0]["name"], "open");
    let taken = api.publish(&Packed::new("secret", "2.0.0"), &bob).await.detail(403);
    let free = api.publish(&Packed::new("absent", "2.0.0"), &bob).await.detail(403);
    assert_eq!(taken.replace("secret", "absent"), free);
}

#[tokio::test]
async fn search_ranks_names_first_and_counts_all() {
    let api = Api::new().await;
    let token = api.token("ann").await;
    for name in ["json-tools", "xjson", "json", "other"] {
        api.publish(&Packed::new(name, "1.0.0"), &token).await;
    }
    let found = api.get("/api/v1/crates?q=json&per_page=2", Some(&token)).await.json();
    assert_eq!(found["meta"]["total"], 3);
    let names: Vec<_> = found["crates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|hit| hit["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(names, ["json", "json-tools"]);
    let first = &found["crates"][0];
    assert_eq!(first["max_version"], "1.0.0");
    assert_eq!((&first["description"], &first["downloads"]), (&json!("about json"), &json!(0)));
    let rest = api.get("/api/v1/crates?q=JSON&per_page=2&page=2", Some(&token)).await.json();
    assert_eq!((&rest["crates"][0]["name"], &rest["meta"]["total"]), (&json!("xjson"), &json!(3)));
    let listing = api.get("/api/v1/crates?sort=alpha&per_page=2", Some(&token)).await.json();
    assert_eq!((&listing["crates"][1]["name"], &listing["meta"]["total"]), (&json!("json-tools"), &json!(4)));
    // A change shows at once.
    api.publish(&Packed::new("json", "2.0.0"), &token).await;
    let found = api.get("/api/v1/crates?q=json&per_page=1", Some(&token)).await.json();
    assert_eq!(found["crates"][0]["max_version"], "2.0.0");
    api.get("/api/v1/crates?q=a&per_page=many", Some(&token)).await.detail(400);
    let error = api.get("/api/v1/crates?q=a&sort=stars", Some(&token)).await.detail(400);
    assert!(error.contains("`stars`") && error.contains("recent-updates"), "{error}");
}

#[tokio::test]
async fn wrong_methods_and_addresses() {
    let api = Api::new().await;
    for (method, path, allow) in [
        (Method::POST, "/index/config.json", "GET, HEAD"),
        (Method::GET, "/api/v1/crates/new", "PUT"),
        (Method::POST, "/api/v1/crates/a/owners", "GET, HEAD, PUT, DELETE"),
        (Method::GET, "/api/v1/crates/a/1.0.0/yank", "DELETE"),
        (Method::DELETE, "/api/v1/crates", "GET, HEAD"),
    ] {
        let answer = api.send(with(method, path, None), "").await;
        answer.detail(405);
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    for path in ["/nothing", "/api/v2/crates", "/api/v1/crates/a/1.0.0", "/admin/v1/tokens/x", "/metrics"] {
        api.get(path, None).await.detail(404);
    }
    let page = api.get("/me", None).await;
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("sparse+http://crates.example/index/") && page.text().contains("cargo login"),
        "{}",
        page.text()
    );
}
