//! A registry's admin API behind TLS: tokens by hash.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fake_cluster::{Faults, When};

pub(crate) const CREDENTIAL: &str = "hush-admin";

#[derive(Debug, Default)]
struct State {
    tokens: BTreeMap<String, Value>,
    calls: Vec<String>,
    down: bool,
    refuse: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeRegistry {
    state: Arc<Mutex<State>>,
    pub(crate) url: String,
    pub(crate) ca: String,
}

impl FakeRegistry {
    pub(crate) async fn start(faults: Faults) -> FakeRegistry {
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).expect("a key");
        let server =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.cert.der().clone()], key)
                .expect("a key that fits");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        let registry = FakeRegistry { state: Arc::default(), url, ca: certificate.cert.pem() };
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, registry, faults) = (acceptor.clone(), serving.clone(), faults.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request| {
                        let (registry, faults) = (registry.clone(), faults.clone());
                        async move { Ok::<_, Infallible>(registry.answer(request, &faults).await) }
                    });
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        registry
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    pub(crate) fn set_refuse(&self, refuse: bool) {
        self.state().refuse = refuse;
    }

    pub(crate) fn revoke(&self, sha256: &str) {
        self.state().tokens.get_mut(sha256).expect("known")["revoked_at"] = json!("2026-01-01T00:00:00Z");
    }

    pub(crate) fn token(&self, sha256: &str) -> Option<Value> {
        self.state().tokens.get(sha256).cloned()
    }

    /// Hashes that are not revoked.
    pub(crate) fn in_force(&self) -> Vec<String> {
        self.state().tokens.iter().filter(|(_, t)| t["revoked_at"].is_null()).map(|(hash, _)| hash.clone()).collect()
    }

    /// `METHOD hash` since the last call.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    async fn answer(&self, request: Request<Incoming>, faults: &Faults) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let expected = format!("Bearer {CREDENTIAL}");
        if head.headers.get("authorization").and_then(|v| v.to_str().ok()) != Some(&expected) {
            return errors(401, "no credential");
        }
        let fault = faults.next();
        if fault == Some(When::Before) {
            return errors(500, "cut short");
        }
        let answer = self.act(head.method.as_str(), head.uri.path(), &body);
        if fault == Some(When::After) { errors(500, "answer lost") } else { answer }
    }

    fn act(&self, method: &str, path: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let mut state = self.state();
        let sha256 = path.rsplit('/').next().unwrap_or_default().to_owned();
        state.calls.push(format!("{method} {sha256}"));
        if state.down {
            return errors(503, "the store is unreachable");
        }
        match method {
            "PUT" if state.refuse => errors(422, "the pattern `-x` does not begin with a letter"),
            "PUT" => {
                if state.tokens.get(&sha256).is_some_and(|t| !t["revoked_at"].is_null()) {
                    return errors(409, "this token was revoked");
                }
                let mut token: Value = serde_json::from_slice(body).expect("JSON");
                token["sha256"] = json!(sha256);
                token["created_at"] = json!("2026-01-01T00:00:00Z");
                token["revoked_at"] = Value::Null;
                state.tokens.insert(sha256, token.clone());
                json_reply(200, &token)
            }
            "GET" => state.tokens.get(&sha256).map_or_else(|| errors(404, "unknown"), |token| json_reply(200, token)),
            "DELETE" => {
                if let Some(token) = state.tokens.get_mut(&sha256) {
                    token["revoked_at"] = json!("2026-01-01T00:00:00Z");
                }
                let mut empty = Response::new(Full::default());
                *empty.status_mut() = StatusCode::NO_CONTENT;
                empty
            }
            _ => errors(405, "what is this"),
        }
    }
}

fn json_reply(status: u16, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn errors(status: u16, detail: &str) -> Response<Full<Bytes>> {
    json_reply(status, &json!({"errors": [{"detail": detail}]}))
}
