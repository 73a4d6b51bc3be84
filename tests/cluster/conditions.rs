//! What is wrong is named in a condition, in the user's words, and mending it is enough.

use anyhow::{Result, ensure};
use serde_json::json;
use supercargo_tests::{
    kube::TestNamespace,
    registry::{on_bucket, ready, s3_secret, says},
    s3::{ROOT_KEY, ROOT_SECRET, Server, Store},
};

use crate::turns::in_namespace;

/// The message names each of `words`, and never the secret key.
fn names(message: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(message.contains(word), "{message:?} does not name {word:?}");
    }
    ensure!(!message.contains(ROOT_SECRET), "a secret in a condition: {message}");
    Ok(())
}

async fn with_credentials(namespace: &TestNamespace, key: &str, secret: &str) -> Result<()> {
    namespace.apply_object(&s3_secret("s3", key, secret)).await
}

#[tokio::test]
async fn wrong_s3_credentials_are_named_and_heal() -> Result<()> {
    in_namespace("wrong_s3_credentials", async |namespace| {
        let store = Store::of(Server::Honest).await?;
        with_credentials(&namespace, ROOT_KEY, "not-the-secret").await?;
        namespace.apply_object(&on_bucket("company", namespace.name())).await?;
        let message = says(&namespace, "company", "BucketReady", "False", "CredentialsRejected").await?;
        names(&message, &["s3", "AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch", "Nothing was changed"])?;
        ensure!(!store.has_bucket(namespace.name()).await?, "a bucket was made with wrong credentials");

        with_credentials(&namespace, ROOT_KEY, ROOT_SECRET).await?;
        ready(&namespace, "company").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_bucket_with_adopt_is_named_and_heals() -> Result<()> {
    in_namespace("a_missing_bucket_with_adopt", async |namespace| {
        let store = Store::of(Server::Honest).await?;
        with_credentials(&namespace, ROOT_KEY, ROOT_SECRET).await?;
        let mut object = on_bucket("company", namespace.name());
        object["spec"]["bucket"] = json!({"creationPolicy": "Adopt"});
        namespace.apply_object(&object).await?;
        let message = says(&namespace, "company", "BucketReady", "False", "BucketNotFound").await?;
        names(&message, &[namespace.name(), "NoSuchBucket", "creationPolicy"])?;
        let ready_message = says(&namespace, "company", "Ready", "False", "BucketNotFound").await?;
        names(&ready_message, &[namespace.name()])?;
        ensure!(!store.has_bucket(namespace.name()).await?, "Adopt has made a bucket");

        store.create_bucket(namespace.name()).await?;
        ready(&namespace, "company").await?;
        says(&namespace, "company", "BucketReady", "True", "Adopted").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_secret_is_named_and_heals() -> Result<()> {
    in_namespace("a_missing_secret", async |namespace| {
        Store::of(Server::Honest).await?;
        namespace.apply_object(&on_bucket("company", namespace.name())).await?;
        let message = says(&namespace, "company", "Ready", "False", "SecretNotFound").await?;
        names(&message, &["s3", "AWS_ACCESS_KEY_ID"])?;

        with_credentials(&namespace, ROOT_KEY, ROOT_SECRET).await?;
        ready(&namespace, "company").await?;
        Ok(())
    })
    .await
}

/// The proof that every replica makes at its start finds it out; no crate is ever written there.
#[tokio::test]
async fn a_store_without_conditional_writes_is_refused_and_another_heals() -> Result<()> {
    in_namespace("a_store_without_conditional_writes", async |namespace| {
        let dishonest = Store::of(Server::LosesUpdates).await?;
        with_credentials(&namespace, ROOT_KEY, ROOT_SECRET).await?;
        let mut object = on_bucket("company", namespace.name());
        object["spec"]["storage"]["s3"]["endpoint"] = json!(Server::LosesUpdates.endpoint());
        namespace.apply_object(&object).await?;
        let message = says(&namespace, "company", "ConditionalWrites", "False", "Refused").await?;
        ensure!(!message.is_empty(), "the condition does not say what was found");
        says(&namespace, "company", "Ready", "False", "StoreRefused").await?;
        let keys = dishonest.keys(namespace.name(), "").await?;
        ensure!(!keys.iter().any(|key| key.starts_with("v1/crate/")), "crates on a refused store: {keys:#?}");

        // Another store is never filled with an empty registry by itself: the condition says what to do, and that helps.
        let honest = Store::of(Server::Honest).await?;
        object["spec"]["storage"]["s3"]["endpoint"] = json!(Server::Honest.endpoint());
        namespace.apply_object(&object).await?;
        let message = says(&namespace, "company", "BucketReady", "False", "Vanished").await?;
        ensure!(message.contains("create the bucket yourself"), "{message}");
        ensure!(!honest.has_bucket(namespace.name()).await?, "an empty bucket was made where another was in use");
        honest.create_bucket(namespace.name()).await?;
        ready(&namespace, "company").await?;
        says(&namespace, "company", "ConditionalWrites", "True", "Proven").await?;
        Ok(())
    })
    .await
}

/// An object of somebody else that bears a name we want is left alone, and the condition says which.
#[tokio::test]
async fn a_foreign_object_is_never_taken_over() -> Result<()> {
    in_namespace("a_foreign_object", async |namespace| {
        Store::of(Server::Honest).await?;
        with_credentials(&namespace, ROOT_KEY, ROOT_SECRET).await?;
        let foreign = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "company-config"}, "data": {"of": "somebody else"},
        });
        namespace.apply_object(&foreign).await?;
        namespace.apply_object(&on_bucket("company", namespace.name())).await?;
        let message = says(&namespace, "company", "Ready", "False", "NameTaken").await?;
        names(&message, &["ConfigMap", "company-config"])?;
        let found = namespace.get("ConfigMap", "company-config").await?.unwrap_or_default();
        ensure!(found["data"] == foreign["data"], "it was changed: {found:#}");

        namespace.delete("ConfigMap", "company-config").await?;
        ready(&namespace, "company").await?;
        Ok(())
    })
    .await
}
