//! The CronJobs over a bucket: Jobs that the cluster really runs, and what the registry's conditions say of them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use supercargo_dev::cluster::Cluster;
use supercargo_tests::{
    cargo::Toolchain,
    http::index_lines,
    kube::TestNamespace,
    registry::{self, PATIENCE, says},
    s3::{Server, Store},
    scratch::{Package, Scratch},
};

use crate::turns::in_namespace;

const FSCK: &str = "company-fsck";

/// The check runs to its schedule and finds a record that was damaged past the registry; the condition leads to the Job's log, which names the
/// record. A check that somebody starts by hand, after it was mended, tells so.
#[tokio::test]
async fn a_damaged_record_is_told_until_a_check_finds_it_mended() -> Result<()> {
    in_namespace("a_damaged_record_is_told", async |namespace| {
        let running = registry::start(&namespace, "company", |object| object["spec"]["maintenance"] = paused()).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("to-be-damaged", "0.1.0"))?;
        subject.developer()?.cargo(scratch.path(), "publish").await?.succeeded()?;
        says(&namespace, "company", "StoreSound", "Unknown", "NotCheckedYet").await?;

        let (store, bucket) = (Store::of(Server::Honest).await?, namespace.name());
        let keys = store.keys(bucket, "v1/crate/").await?;
        let [record] = keys.as_slice() else { anyhow::bail!("expected one record, found {keys:#?}") };
        let good = store.get(bucket, record).await?;
        store.put(bucket, record, b"no record of a crate".to_vec()).await?;
        let suspend = |suspend: bool| json!({"spec": {"maintenance": {"fsck": {"suspend": suspend}}}});
        namespace.patch("CargoRegistry", "company", &suspend(false)).await?;
        let message = says(&namespace, "company", "StoreSound", "False", "FsckFoundProblems").await?;
        let log = log_of(&namespace, &message).await?;
        ensure!(log.contains("record-unreadable") && log.contains(record), "the log does not name {record}:\n{log}");
        says(&namespace, "company", "Degraded", "True", "FsckFoundProblems").await?;
        says(&namespace, "company", "Ready", "True", "Serving").await?;

        namespace.patch("CargoRegistry", "company", &suspend(true)).await?;
        namespace.wait("CronJob", FSCK, "it is suspended and no check runs", PATIENCE, at_rest).await?;
        store.put(bucket, record, good).await?;
        let from = format!("--from=cronjob/{FSCK}");
        let cluster = Cluster::find_or_say_how()?;
        cluster.kubectl(["-n", namespace.name(), "create", "job", "by-hand", &from]).output().await?;
        says(&namespace, "company", "StoreSound", "True", "FsckClean").await?;
        says(&namespace, "company", "Degraded", "False", "AsExpected").await?;
        let lines = index_lines(&running.base, &subject.token, "to-be-damaged").await?;
        ensure!(lines.len() == 1, "the crate has {} lines in the index", lines.len());
        Ok(())
    })
    .await
}

/// Nothing runs before the test says so, and then every minute. Without repair: the bucket is versioned, so that the check would put the
/// record back by itself.
fn paused() -> Value {
    json!({"fsck": {"schedule": "* * * * *", "repair": false, "suspend": true}, "gc": {"suspend": true}})
}

fn at_rest(check: &Value) -> bool {
    let active = check.pointer("/status/active").and_then(Value::as_array);
    check.pointer("/spec/suspend") == Some(&json!(true)) && active.is_none_or(Vec::is_empty)
}

/// What the command shows that a message tells people to run.
async fn log_of(namespace: &TestNamespace, message: &str) -> Result<String> {
    let command = message.split('`').nth(1).with_context(|| format!("no command in {message:?}"))?;
    let arguments = command.strip_prefix("kubectl ").with_context(|| format!("not of kubectl: {command:?}"))?;
    let job = format!("job/{FSCK}-");
    ensure!(arguments.contains(namespace.name()) && arguments.contains(&job), "it is about another Job: {command:?}");
    Cluster::find_or_say_how()?.kubectl(arguments.split(' ')).output().await
}
