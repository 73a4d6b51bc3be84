//! What the operator mints and writes is what the registry and Cargo take.

use anyhow::Result;
use supercargo_operator::token::{
    files::{CONFIG_KEY, CREDENTIALS_KEY, files},
    mint::Token,
};
use supercargo_registry::{
    access::{Grant, TokenSecret, Verb},
    ambient::Entropy,
};
use supercargo_tests::{
    cargo::{Home, Toolchain},
    local::LocalRegistry,
    scratch::{Package, Scratch},
};

#[test]
fn a_minted_token_has_the_form_that_the_registry_knows() -> Result<()> {
    for seed in 0..100_u8 {
        let minted = Token::mint(|bytes| {
            bytes
                .iter_mut()
                .enumerate()
                .for_each(|(index, byte)| *byte = seed.wrapping_mul(31).wrapping_add(index as u8));
        });
        let read = TokenSecret::parse(minted.expose())?;
        assert_eq!(read.hash().to_string(), minted.sha256());
    }
    Ok(())
}

#[test]
fn a_token_of_the_registry_has_the_form_that_the_operator_knows() {
    let entropy = Entropy::seeded(1);
    for _ in 0..100 {
        let secret = entropy.with(TokenSecret::generate);
        let bytes = k8s_openapi::ByteString(secret.expose().as_bytes().to_vec());
        let read = Token::from_secret(&bytes).expect("the operator takes it for foreign");
        assert_eq!(read.sha256(), secret.hash().to_string());
    }
}

/// The files of the Secret, in a CARGO_HOME, are all that Cargo needs to publish.
#[tokio::test]
async fn the_files_of_a_secret_make_cargo_work() -> Result<()> {
    let local = LocalRegistry::start("").await?;
    let token = local.token("ci", vec![Grant::on_all([Verb::Read, Verb::PublishNew])]).await?;
    let token = Token::from_secret(&k8s_openapi::ByteString(token.into_bytes())).expect("a token");
    let files = files("company", &format!("sparse+{}/index/", local.base()), &token);
    let home = Home::empty(Toolchain::Workspace)?;
    for key in [CONFIG_KEY, CREDENTIALS_KEY] {
        home.write(key, std::str::from_utf8(&files[key].0)?)?;
    }
    let scratch = Scratch::new()?;
    scratch.package("", &Package::library("from-a-secret", "0.1.0"))?;
    home.cargo(scratch.path(), "publish --registry company").await?.succeeded()?;
    local.stop().await
}
