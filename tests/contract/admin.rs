//! The operator's client against the registry's own server, over TLS.

use std::fs;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use secrecy::SecretString;
use supercargo_operator::{
    admin_api::{AdminApi, AdminError, TokenWanted},
    crd::token::{Grant, Verb},
    token::mint::Token,
};
use supercargo_registry::{
    ambient::{Clock, Entropy},
    config::Config,
    registry::Storage,
    server::{self, Running, Stop},
};
use tempfile::TempDir;

const CREDENTIAL: &str = "the-admin-credential";

struct Scene {
    running: Running,
    authority: Vec<u8>,
    _files: TempDir,
}

impl Scene {
    async fn set() -> Result<Self> {
        let files = TempDir::new()?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let path = |name: &str| files.path().join(name).display().to_string();
        fs::write(path("tls.crt"), cert.pem())?;
        fs::write(path("tls.key"), signing_key.serialize_pem())?;
        fs::write(path("admin-token"), CREDENTIAL)?;
        let text = format!(
            "public.listen = \"127.0.0.1:0\"\ninternal.listen = \"127.0.0.1:0\"\ninternal.tls_certificate = {:?}\n\
             internal.tls_private_key = {:?}\nadmin.token_file = {:?}\nstorage.kind = \"memory\"\n",
            path("tls.crt"),
            path("tls.key"),
            path("admin-token"),
        );
        let config = Config::from_sources(Some(&text), Vec::new())?;
        let storage = Storage::open(&config.storage).await?;
        let running = server::start(&config, &storage, Clock::system(), Entropy::from_os()).await?;
        Ok(Self { running, authority: cert.pem().into_bytes(), _files: files })
    }

    fn operator(&self, credential: &str) -> Result<AdminApi> {
        let base = format!("https://localhost:{}", self.running.internal.port());
        Ok(AdminApi::new(base, &self.authority, SecretString::from(credential))?)
    }

    async fn end(self) {
        self.running.shutdown(Stop::Settle);
        self.running.wait().await;
    }
}

fn wanted() -> TokenWanted {
    let verbs = vec![Verb::Read, Verb::PublishNew, Verb::PublishUpdate, Verb::Yank, Verb::Owners, Verb::Admin];
    TokenWanted {
        user: "ci".to_owned(),
        description: "demo/ci".to_owned(),
        grants: vec![
            Grant { verbs, crates: vec!["*".to_owned()] },
            Grant { verbs: vec![Verb::Read], crates: vec!["payments-*".to_owned(), "one".to_owned()] },
        ],
        expires_at: Some(Timestamp::from_second(4_000_000_000).expect("in range")),
    }
}

fn token() -> Token {
    Token::mint(|bytes| bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = (index * 7 % 240) as u8))
}

#[tokio::test]
async fn a_token_is_made_known_changed_and_revoked() -> Result<()> {
    let scene = Scene::set().await?;
    let (operator, sha256) = (scene.operator(CREDENTIAL)?, token().sha256());
    assert_eq!(operator.get_token(&sha256).await?, None);
    let known = operator.put_token(&sha256, &wanted()).await?;
    assert_eq!((known.sha256.as_str(), known.user.as_str()), (sha256.as_str(), "ci"));
    assert_eq!((known.expires_at, known.revoked_at), (wanted().expires_at, None));
    assert_eq!(operator.put_token(&sha256, &wanted()).await?, known, "the same again changes nothing");
    assert_eq!(operator.get_token(&sha256).await?, Some(known));

    let narrower =
        TokenWanted { grants: vec![Grant { verbs: vec![Verb::Read], crates: vec!["*".into()] }], ..wanted() };
    operator.put_token(&sha256, &narrower).await?;
    operator.revoke_token(&sha256).await?;
    operator.revoke_token(&sha256).await?;
    let revoked = operator.get_token(&sha256).await?.context("a revoked token is forgotten")?;
    ensure!(revoked.revoked_at.is_some(), "it is not revoked: {revoked:?}");
    let again = operator.put_token(&sha256, &wanted()).await;
    ensure!(matches!(again, Err(AdminError::Conflict(_))), "a revoked token came back: {again:?}");
    operator.revoke_token(&Token::mint(|bytes| bytes.fill(1)).sha256()).await?;
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn the_token_opens_the_registry_until_it_is_revoked() -> Result<()> {
    let scene = Scene::set().await?;
    let (operator, token) = (scene.operator(CREDENTIAL)?, token());
    let url = format!("http://{}/index/config.json", scene.running.public);
    let ask = async || supercargo_tests::http::get(&url, Some(token.expose())).await.map(|(status, _)| status.as_u16());
    assert_eq!(ask().await?, 401);
    operator.put_token(&token.sha256(), &wanted()).await?;
    assert_eq!(ask().await?, 200);
    operator.revoke_token(&token.sha256()).await?;
    assert_eq!(ask().await?, 401);
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn refusals_are_understood() -> Result<()> {
    let scene = Scene::set().await?;
    let sha256 = token().sha256();
    let stranger = scene.operator("another-credential")?.put_token(&sha256, &wanted()).await;
    assert_eq!(stranger, Err(AdminError::Unauthorized));
    let operator = scene.operator(CREDENTIAL)?;
    let nameless = operator.put_token(&sha256, &TokenWanted { user: String::new(), ..wanted() }).await;
    ensure!(matches!(nameless, Err(AdminError::Refused(_))), "{nameless:?}");
    let powerless = operator.put_token(&sha256, &TokenWanted { grants: Vec::new(), ..wanted() }).await;
    ensure!(matches!(powerless, Err(AdminError::Refused(_))), "{powerless:?}");
    let misnamed = operator.put_token("not-a-hash", &wanted()).await;
    ensure!(misnamed.is_err(), "{misnamed:?}");
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn readiness_carries_the_verdict_on_the_store() -> Result<()> {
    let scene = Scene::set().await?;
    let readiness = scene.operator(CREDENTIAL)?.readyz().await?;
    ensure!(readiness.ready, "{readiness:?}");
    assert_eq!(readiness.store.map(|store| store.verdict).as_deref(), Some("Proven"));
    scene.end().await;
    Ok(())
}
