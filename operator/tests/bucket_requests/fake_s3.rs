//! An S3 server that keeps documents as they were sent, writes down every request, and can be told to lack features.
//!
//! It does not check signatures: what a wrong key looks like is told by [`FakeS3::refuse`], and real servers check the rest.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

/// What a store lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything is there.
    #[default]
    Full,
    /// As MinIO without KMS: no public access block, and `DELETE` of it is DeleteBucket; a lifecycle rule that only aborts uploads is
    /// invalid, and of one that does more the abort is dropped; no encryption.
    MinIo,
    /// Knows no sub-resource at all.
    Bare,
}

#[derive(Debug, Default)]
struct State {
    kind: Kind,
    /// Bucket -> sub-resource -> document.
    buckets: BTreeMap<String, BTreeMap<String, String>>,
    objects: bool,
    versions: bool,
    uploads: bool,
    refuse: Option<(u16, &'static str)>,
    refuse_put: BTreeMap<&'static str, (u16, &'static str)>,
    html: bool,
    /// Sub-resource (`""`: the bucket itself) whose requests are never answered.
    silent_about: Option<&'static str>,
    log: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeS3 {
    state: Arc<Mutex<State>>,
    pub(crate) endpoint: String,
}

impl FakeS3 {
    pub(crate) async fn start(kind: Kind) -> FakeS3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(State { kind, ..State::default() }));
        let fake = FakeS3 { state: Arc::clone(&state), endpoint };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(TokioIo::new(stream), Arc::clone(&state)));
            }
        });
        fake
    }

    /// The same server behind TLS.
    pub(crate) async fn start_tls(acceptor: tokio_rustls::TlsAcceptor) -> FakeS3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("https://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(State::default()));
        let fake = FakeS3 { state: Arc::clone(&state), endpoint };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(TokioIo::new(stream), state).await;
                    }
                });
            }
        });
        fake
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub(crate) fn make_bucket(&self, name: &str) {
        self.state().buckets.insert(name.into(), BTreeMap::new());
    }

    pub(crate) fn remove_bucket(&self, name: &str) {
        self.state().buckets.remove(name);
    }

    pub(crate) fn has_bucket(&self, name: &str) -> bool {
        self.state().buckets.contains_key(name)
    }

    pub(crate) fn put_document(&self, bucket: &str, sub_resource: &str, document: &str) {
        self.state().buckets.get_mut(bucket).expect("the bucket").insert(sub_resource.into(), document.into());
    }

    pub(crate) fn document(&self, bucket: &str, sub_resource: &str) -> Option<String> {
        self.state().buckets.get(bucket)?.get(sub_resource).cloned()
    }

    pub(crate) fn content(&self, objects: bool, versions: bool, uploads: bool) {
        let mut state = self.state();
        (state.objects, state.versions, state.uploads) = (objects, versions, uploads);
    }

    /// Answers every request with this.
    pub(crate) fn refuse(&self, with: Option<(u16, &'static str)>) {
        self.state().refuse = with;
    }

    /// Answers a PUT of this sub-resource with this.
    pub(crate) fn refuse_put(&self, sub_resource: &'static str, status: u16, code: &'static str) {
        self.state().refuse_put.insert(sub_resource, (status, code));
    }

    /// Never answers what is asked of this sub-resource; `""` is the bucket itself.
    pub(crate) fn be_silent_about(&self, sub_resource: Option<&'static str>) {
        self.state().silent_about = sub_resource;
    }

    /// Answers every request with a page, as a wrong URL does.
    pub(crate) fn speak_html(&self) {
        self.state().html = true;
    }

    /// The requests since the last call, `METHOD /bucket?sub-resource`.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

async fn serve<I>(io: I, state: Arc<Mutex<State>>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&state)));
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
    let bucket = head.uri.path().trim_matches('/').to_owned();
    let query = head.uri.query().unwrap_or_default();
    // Sub-resources have no value; everything else in a query is an argument.
    let sub_resource = query.split('&').map(|p| p.trim_end_matches('=')).find(|p| !p.contains('=') && !p.is_empty());
    let silent_about = state.lock().expect("not poisoned").silent_about;
    if silent_about == Some(sub_resource.unwrap_or_default()) {
        std::future::pending::<()>().await;
    }
    let mut state = state.lock().expect("not poisoned");
    let suffix = sub_resource.map(|s| format!("?{s}")).unwrap_or_default();
    state.log.push(format!("{} /{bucket}{suffix}", head.method));
    if let Some((status, code)) = state.refuse {
        return Ok(error(status, code));
    }
    if state.html {
        return Ok(plain(404, "<html><body>not here</body></html>"));
    }
    Ok(state.answer(&head.method, &bucket, sub_resource, body))
}

impl State {
    fn answer(
        &mut self,
        method: &Method,
        bucket: &str,
        sub_resource: Option<&str>,
        body: String,
    ) -> Response<Full<Bytes>> {
        if method == Method::PUT && sub_resource.is_none() {
            if self.buckets.contains_key(bucket) {
                return error(409, "BucketAlreadyOwnedByYou");
            }
            self.buckets.insert(bucket.into(), BTreeMap::from([("created-with".into(), body)]));
            return plain(200, "");
        }
        if !self.buckets.contains_key(bucket) {
            return error(404, "NoSuchBucket");
        }
        let lacking = match (self.kind, sub_resource) {
            (Kind::Full, _) | (_, None | Some("versions" | "uploads")) => false,
            (Kind::MinIo, Some(sub)) => sub == "publicAccessBlock",
            (Kind::Bare, Some(_)) => true,
        };
        match (method.as_str(), sub_resource) {
            ("DELETE", None) => self.delete(bucket),
            // The trap: what the server does not know is not there, so this is a DELETE of the bucket.
            ("DELETE", Some(_)) if lacking => self.delete(bucket),
            (_, Some(_)) if lacking => error(501, "NotImplemented"),
            ("GET", None) => self.list(bucket),
            ("GET", Some("versions")) => plain(200, &listing("ListVersionsResult", self.versions, "DeleteMarker")),
            ("GET", Some("uploads")) => plain(200, &listing("ListMultipartUploadsResult", self.uploads, "Upload")),
            ("GET", Some(sub)) => self.document(bucket, sub),
            ("PUT", Some(sub)) => self.put(bucket, sub, body),
            _ => error(405, "MethodNotAllowed"),
        }
    }

    fn delete(&mut self, bucket: &str) -> Response<Full<Bytes>> {
        if self.objects || self.versions {
            return error(409, "BucketNotEmpty");
        }
        self.buckets.remove(bucket);
        plain(204, "")
    }

    fn list(&self, bucket: &str) -> Response<Full<Bytes>> {
        let contents = if self.objects { "<Contents><Key>v1/meta/format</Key><Size>1</Size></Contents>" } else { "" };
        plain(
            200,
            &format!(
                "<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
            ),
        )
    }

    fn document(&self, bucket: &str, sub: &str) -> Response<Full<Bytes>> {
        match (self.buckets[bucket].get(sub), sub) {
            (Some(document), _) => plain(200, document),
            (None, "versioning") => plain(200, "<VersioningConfiguration/>"),
            (None, "encryption") => error(404, "ServerSideEncryptionConfigurationNotFoundError"),
            (None, "publicAccessBlock") => error(404, "NoSuchPublicAccessBlockConfiguration"),
            (None, "lifecycle") => error(404, "NoSuchLifecycleConfiguration"),
            (None, "tagging") => error(404, "NoSuchTagSet"),
            (None, _) => error(501, "NotImplemented"),
        }
    }

    fn put(&mut self, bucket: &str, sub: &str, mut body: String) -> Response<Full<Bytes>> {
        if let Some((status, code)) = self.refuse_put.get(sub) {
            return error(*status, code);
        }
        if self.kind == Kind::MinIo {
            match sub {
                "encryption" => return error(501, "NotImplemented"),
                "lifecycle" => {
                    let does_something = |rule: &str| rule.contains("Expiration>");
                    if !body.split("<Rule>").skip(1).all(does_something) {
                        return error(400, "InvalidArgument");
                    }
                    if let Some((before, rest)) = body.split_once("<AbortIncompleteMultipartUpload>") {
                        let (_, after) = rest.split_once("</AbortIncompleteMultipartUpload>").expect("it ends");
                        body = format!("{before}{after}");
                    }
                }
                _ => {}
            }
        }
        self.buckets.get_mut(bucket).expect("looked up before").insert(sub.into(), body);
        plain(200, "")
    }
}

fn listing(root: &str, some: bool, element: &str) -> String {
    let content = if some { format!("<{element}><Key>k</Key></{element}>") } else { String::new() };
    format!("<{root}><IsTruncated>false</IsTruncated>{content}</{root}>")
}

fn plain(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn error(status: u16, code: &str) -> Response<Full<Bytes>> {
    plain(status, &format!("<Error><Code>{code}</Code><Message>told by the fake</Message></Error>"))
}
