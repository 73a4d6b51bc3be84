//! The end-to-end suite: a cluster with the images of this tree and the operator installed by its chart, then the tests.

use anyhow::{Result, bail};

use crate::check::{Bench, Tally, cargo};
use crate::cluster::{Cluster, down, kubeconfig};
use crate::demo::{Place, install_operator};
use crate::process::{Run, tail};
use crate::progress::tell;
use crate::tools::{self, Tool};

/// Tests at once. Most of the time they wait for pods; Cargo and rustc of a few together keep two cores busy.
const THREADS: &str = "4";
/// Namespace of the S3 servers that all tests share.
const S3_NAMESPACE: &str = "supercargo-tests-s3";

/// Runs the tests whose names contain one of the words of `filter`, all if there are none.
///
/// A cluster that was started for this is taken down again when all went well; after a failure it stays, to be looked at.
pub(super) async fn end_to_end(bench: &Bench, filter: &[String]) -> Result<Tally> {
    // Compile first: what does not compile should not cost a cluster.
    let (compiled, said) = bench.run("cluster-compile", test(&["--no-run"])).await?;
    if !compiled {
        bail!("the end-to-end tests do not compile:\n{}", tail(said.trim_end()));
    }
    let found = Cluster::find()?.is_some();
    tools::ensure(&[Tool::Helm, Tool::Versitygw]).await?;
    let place = Place::here().await?;
    install_operator(&place).await?;
    let mut arguments = vec!["--no-fail-fast", "--", "--test-threads", THREADS];
    arguments.extend(filter.iter().map(String::as_str));
    let tally = bench.cargo_test("cluster", test(&arguments).env("KUBECONFIG", kubeconfig())).await?;
    if !tally.holds() {
        tell(format_args!(
            "the cluster stays as it is: export KUBECONFIG={}; `cargo dev down` removes it",
            kubeconfig().display()
        ));
    } else if found {
        place
            .kubectl
            .run(&["delete", "namespace", S3_NAMESPACE, "--ignore-not-found", "--wait=false"])
            .output()
            .await?;
    } else {
        down(true).await?;
    }
    Ok(tally)
}

fn test(arguments: &[&str]) -> Run {
    cargo(&["test", "-p", "supercargo-tests", "--test", "cluster"]).args(arguments)
}
