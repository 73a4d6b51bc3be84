//! kubectl against the cluster of the demo, as a user would call it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::process::Run;
use crate::progress::{Step, say};

/// Which cluster, and the program to talk to it with.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    /// The program.
    pub(crate) program: PathBuf,
    /// A kubeconfig file instead of the user's own.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// A context of it instead of its current one.
    pub(crate) context: Option<String>,
}

/// A condition of a status, as far as people look at it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    #[serde(default)]
    message: String,
}

impl Kubectl {
    /// `kubectl` with the arguments that choose the cluster.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::new(&self.program).args(self.chosen()).args(arguments)
    }

    /// The arguments that choose the cluster, for people to copy.
    pub(crate) fn chosen(&self) -> Vec<String> {
        let file = self.kubeconfig.as_ref().map(|path| format!("--kubeconfig={}", path.display()));
        let context = self.context.as_ref().map(|name| format!("--context={name}"));
        file.into_iter().chain(context).collect()
    }

    /// Waits until the object's `Ready` condition is `True` for its newest spec, and shows every condition that changes meanwhile.
    ///
    /// # Errors
    /// After `deadline`, with the conditions as they were last seen.
    pub(crate) async fn wait_ready(
        &self,
        namespace: &str,
        object: &str,
        deadline: Duration,
        step: &Step,
    ) -> Result<()> {
        let mut seen = Vec::new();
        let outcome = tokio::time::timeout(deadline, self.follow(namespace, object, step, &mut seen)).await;
        let Ok(followed) = outcome else {
            let lines: Vec<String> = seen.iter().map(Condition::line).collect();
            let conditions =
                if lines.is_empty() { "none: is the operator running?".to_owned() } else { lines.join("\n  ") };
            bail!("{object} is not Ready after {} s; its conditions:\n  {conditions}", deadline.as_secs());
        };
        followed
    }

    async fn follow(&self, namespace: &str, object: &str, step: &Step, seen: &mut Vec<Condition>) -> Result<()> {
        let format = "-o=jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions}{\"\\n\"}";
        let mut watch = self.stream(&["-n", namespace, "get", object, "--watch", format])?;
        let stdout = watch.stdout.take().context("kubectl's standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.context("reading what kubectl says")? {
            let Some((current, conditions)) = parse(&line) else { continue };
            for condition in &conditions {
                if !seen.contains(condition) {
                    step.note(&condition.line());
                    say(format_args!("    {}", condition.line()));
                }
            }
            let ready = conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True");
            *seen = conditions;
            if ready && current {
                return Ok(());
            }
        }
        bail!("kubectl stopped to watch {object}; `{}` says more", self.run(&["-n", namespace, "describe", object]))
    }

    /// Forwards a free port of this machine to `target`, for as long as the child lives, and says which port it is.
    pub(crate) async fn port_forward(&self, namespace: &str, target: &str, port: u16) -> Result<(Child, u16)> {
        let mut child = self.stream(&["-n", namespace, "port-forward", target, &format!(":{port}")])?;
        let stdout = child.stdout.take().context("kubectl's standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let line = first.context("kubectl port-forward said nothing for 30 s")??.unwrap_or_default();
        // "Forwarding from 127.0.0.1:41231 -> 8080"
        let local = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let local = local.with_context(|| format!("kubectl port-forward {target} failed: {line}"))?;
        // It writes a line per connection and must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok((child, local))
    }

    fn stream(&self, arguments: &[&str]) -> Result<Child> {
        Command::new(&self.program)
            .args(self.chosen())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))
    }
}

impl Condition {
    fn line(&self) -> String {
        let Self { kind, status, reason, message } = self;
        let message = message.lines().next().unwrap_or_default();
        format!("{kind}={status} {reason}{}{message}", if message.is_empty() { "" } else { ": " })
    }
}

/// Whether the status speaks of the newest spec, and its conditions.
fn parse(line: &str) -> Option<(bool, Vec<Condition>)> {
    let mut parts = line.splitn(3, ' ');
    let (generation, observed, conditions) = (parts.next()?, parts.next()?, parts.next()?);
    Some((generation == observed, serde_json::from_str(conditions).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_watch_is_understood() {
        let line = r#"2 2 [{"type":"Ready","status":"False","reason":"RollingOut","message":"0 of 1","observedGeneration":2}]"#;
        let (current, conditions) = parse(line).expect("a line");
        assert!(current);
        assert_eq!(conditions[0].line(), "Ready=False RollingOut: 0 of 1");
        assert!(parse("1  ").is_none(), "no status yet");
        assert!(!parse(r#"3 2 []"#).expect("a line").0, "the status is of the spec before");
    }
}
