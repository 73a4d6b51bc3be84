//! A strict S3 server in memory, on a real socket, for tests: linearizable, suspicious of its clients, with a log of requests, and with faults
//! and lies on demand.
//!
//! Strict: signatures are checked, a body must be covered by the signature or a checksum, conditions hold when the body is complete, statuses are those of
//! AWS (404 for `If-Match` on a missing key, 304, 412). [`Lie`] makes it break one promise, as real servers did; [`Fault`] breaks single
//! requests on the wire.

mod backend;
mod objects;
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use self::objects::Objects;
use super::s3::{S3Config, S3Credentials, S3Store, S3Timeouts};
use super::{Key, KeyPrefix, StoreError};

/// The bucket that exists when the server starts.
pub const BUCKET: &str = "registry";
/// The access key that the server knows when it starts.
pub const ACCESS_KEY: &str = "test-access-key";
/// Its secret.
pub const SECRET_KEY: &str = "test-secret-key";

/// A promise that the server breaks throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    /// None.
    #[default]
    Honest,
    /// Not a promise, but a dialect: ETags in conditions must come without quotes (DigitalOcean Spaces).
    BareEtags,
    /// `If-Match` and `If-None-Match` on puts are ignored (Garage).
    IgnoresConditions,
    /// `If-None-Match` works, `If-Match` is ignored.
    IgnoresIfMatch,
    /// Conditions are answered with 501 (Backblaze B2).
    RefusesConditions,
    /// Conditions are looked at when the head of a request has arrived (s3s-fs, older versitygw).
    ChecksBeforeBody,
    /// Conditions are looked at when the body is complete, a moment before it is stored (SeaweedFS 4.16).
    ChecksThenWrites,
    /// There are two nodes behind the address, each of which judges conditions and writes under a lock of its own; connections go to one
    /// and the other in turn. Who races over one endpoint sees nothing wrong (RustFS #1659).
    RacesAcrossNodes,
    /// A new version's ETag can be read a moment before its bytes (versitygw with sidecar files).
    EtagBeforeBytes,
    /// Reads on other connections than the writer's lag behind by this much.
    StaleReads(Duration),
    /// Listings on other connections than the writer's lag behind by this much.
    StaleLists(Duration),
    /// Not about conditions: what arrived of a body that was cut is published, if nothing covers it (versitygw 1.8.0).
    KeepsCutBodies,
    /// Not about conditions: a part of an object is asked for, and the whole is sent, which HTTP allows.
    IgnoresRange,
}

/// What goes wrong with one request, on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and S3 error code; nothing is done.
    Status(u16, &'static str),
    /// Answered with this status and a page of HTML, as a proxy does; nothing is done.
    Html(u16),
    /// The connection is closed without an answer; nothing is done.
    Reset,
    /// Carried out; then the connection is closed without an answer.
    LoseReply,
    /// Nothing is done, and no answer comes for as long as the client waits.
    Stall,
    /// Taken whole, and carried out when [`S3Server::release`] is called, whether or not the client still waits; no answer.
    Late,
    /// The answer's body breaks off in the middle.
    CutBody,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The HTTP method.
    pub method: String,
    /// The path, percent-encoded as it came.
    pub path: String,
    /// The query, as it came.
    pub query: String,
    /// The headers but `authorization`, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Which connection it came over.
    pub connection: u64,
    /// The status of the answer; `None` if there was none.
    pub status: Option<u16>,
}

impl Logged {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    accepting: AbortHandle,
    /// Credentials as a mounted Secret has them.
    secret: tempfile::TempDir,
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    objects: Objects,
    faults: Mutex<Vec<Armed>>,
    log: Mutex<Vec<Logged>>,
    keys: Mutex<Vec<(String, String)>>,
    release: Notify,
}

#[derive(Debug)]
struct Armed {
    method: &'static str,
    key: String,
    fault: Fault,
    times: usize,
}

impl S3Server {
    /// Starts a server on a free port of the loopback interface, with [`BUCKET`] in it.
    pub async fn start(lie: Lie) -> std::io::Result<Self> {
        Self::start_with(lie, None).await
    }

    /// As [`start`](Self::start), over TLS.
    pub async fn start_tls(lie: Lie, tls: Arc<ServerConfig>) -> std::io::Result<Self> {
        Self::start_with(lie, Some(tls)).await
    }

    async fn start_with(lie: Lie, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            objects: Objects::new(lie, &[BUCKET]),
            faults: Mutex::default(),
            log: Mutex::default(),
            keys: Mutex::new(vec![(ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())]),
            release: Notify::new(),
        });
        let is_tls = tls.is_some();
        let accepting = tokio::spawn(wire::serve(listener, tls, Arc::clone(&shared))).abort_handle();
        let secret = tempfile::tempdir()?;
        write_secret(secret.path(), ACCESS_KEY, SECRET_KEY)?;
        Ok(Self { address, tls: is_tls, shared, accepting, secret })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// The configuration of a client that may use the bucket.
    pub fn config(&self) -> S3Config {
        S3Config {
            bucket: BUCKET.to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(self.endpoint()),
            public_endpoint: None,
            prefix: KeyPrefix::default(),
            force_path_style: true,
            ca_bundle_file: None,
            credentials: S3Credentials::Directory(self.secret.path().to_owned()),
            timeouts: S3Timeouts::default(),
        }
    }

    /// A client that may use the bucket.
    pub async fn store(&self) -> Result<S3Store, StoreError> {
        let connected = S3Store::connect(self.config()).await;
        connected.map_err(|err| StoreError::new(super::StoreErrorKind::Rejected, err.to_string()))
    }

    /// The directory with the credentials of [`config`](Self::config).
    pub fn credentials_dir(&self) -> &Path {
        self.secret.path()
    }

    /// Makes the next `times` requests of `method` (`PUT`, `GET`, `DELETE`) whose path or query contains `key` go wrong.
    pub fn inject(&self, method: &'static str, key: &str, fault: Fault, times: usize) {
        locked(&self.shared.faults).push(Armed { method, key: key.to_owned(), fault, times });
    }

    /// Carries out what [`Fault::Late`] holds back.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        locked(&self.shared.log).clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        locked(&self.shared.log).clear();
    }

    /// From now on only this key pair is known to the server.
    pub fn set_credentials(&self, access_key: &str, secret_key: &str) {
        *locked(&self.shared.keys) = vec![(access_key.to_owned(), secret_key.to_owned())];
    }

    /// Writes other credentials into the directory of [`config`](Self::config).
    pub fn write_credentials(&self, access_key: &str, secret_key: &str) -> std::io::Result<()> {
        write_secret(self.secret.path(), access_key, secret_key)
    }

    /// The bytes of an object below no prefix, past all faults and lies.
    pub fn stored(&self, key: &Key) -> Option<bytes::Bytes> {
        self.stored_at(&key.to_string())
    }

    /// As [`stored`](Self::stored), by object key.
    pub fn stored_at(&self, object_key: &str) -> Option<bytes::Bytes> {
        self.shared.objects.peek(BUCKET, object_key)
    }

    /// The keys of all objects, past all faults and lies.
    pub fn object_keys(&self) -> Vec<String> {
        self.shared.objects.keys(BUCKET)
    }

    /// Puts an object, past all faults and lies.
    pub fn plant(&self, object_key: &str, bytes: impl Into<bytes::Bytes>) {
        self.shared.objects.plant(BUCKET, object_key, bytes.into());
    }

    /// Makes the bucket again, empty.
    pub fn create_bucket(&self) {
        self.shared.objects.create_bucket(BUCKET);
    }

    /// Keeps every state of every object from now on, as a bucket with versioning does.
    pub fn keep_versions(&self) {
        self.shared.objects.keep_versions();
    }

    /// Puts the server's clock, which dates objects, forward.
    pub fn advance(&self, by: Duration) {
        self.shared.objects.advance(by);
    }

    /// Deletes the bucket with all that is in it.
    pub fn drop_bucket(&self) {
        self.shared.objects.drop_bucket(BUCKET);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// The fault that this request meets, if any.
    fn fault(&self, method: &str, target: &str) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let armed = faults.iter_mut().find(|a| a.times > 0 && a.method == method && target.contains(&a.key))?;
        armed.times -= 1;
        Some(armed.fault.clone())
    }
}

fn write_secret(directory: &Path, access_key: &str, secret_key: &str) -> std::io::Result<()> {
    std::fs::write(directory.join("AWS_ACCESS_KEY_ID"), access_key)?;
    std::fs::write(directory.join("AWS_SECRET_ACCESS_KEY"), secret_key)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
