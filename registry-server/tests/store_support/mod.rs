//! s3s-fs as it comes, on a socket: a store whose conditional writes are not atomic.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use supercargo_registry::store::s3::{S3Config, S3Credentials, S3Timeouts};
use supercargo_registry::store::{KeyPrefix, S3Store};
use tokio::net::TcpListener;

pub(crate) struct S3sFs {
    root: tempfile::TempDir,
    secret: tempfile::TempDir,
    endpoint: String,
    accepting: tokio::task::AbortHandle,
}

impl S3sFs {
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("registry")).unwrap();
        let fs = s3s_fs::FileSystem::new(root.path()).unwrap();
        let mut builder = S3ServiceBuilder::new(fs);
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let io = TokioIo::new(stream);
                    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
                });
            }
        });
        let secret = tempfile::tempdir().unwrap();
        std::fs::write(secret.path().join("AWS_ACCESS_KEY_ID"), "key").unwrap();
        std::fs::write(secret.path().join("AWS_SECRET_ACCESS_KEY"), "secret").unwrap();
        Self { root, secret, endpoint, accepting: accepting.abort_handle() }
    }

    pub(crate) async fn store(&self) -> S3Store {
        assert!(self.root.path().exists());
        let config = S3Config {
            bucket: "registry".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            public_endpoint: None,
            prefix: KeyPrefix::default(),
            force_path_style: true,
            ca_bundle_file: None,
            credentials: S3Credentials::Directory(self.secret.path().to_owned()),
            timeouts: S3Timeouts::default(),
        };
        S3Store::connect(config).await.unwrap()
    }
}

impl Drop for S3sFs {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
