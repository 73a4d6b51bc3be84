//! What a pass came to -> `status`. Pure; speaks only of what was applied or is live.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::model::{Applied, Listed, Live, PodTrouble, Problem, Resources, Verdict};
use super::soundness;
use super::validate::{self, bucket_spec};
use crate::bucket::{self, findings};
use crate::config::Config;
use crate::crd::conditions::{self, CONDITIONAL_WRITES, DEGRADED, Finding, PROGRESSING, READY, STORE_SOUND, Truth};
use crate::crd::registry::{CargoRegistry, CargoRegistryStatus};
use crate::names;

/// How far the pass came.
pub enum Progress<'a> {
    /// Everything is as built.
    Applied(&'a Resources<Applied>),
    /// A person has to mend something first; nothing was written.
    Refused(&'a [Problem], &'a Live),
    /// `spec.paused`: nothing was written.
    Paused(&'a Live),
}

/// All that status is computed from.
pub struct Pass<'a> {
    /// The object.
    pub registry: &'a CargoRegistry,
    /// What the operator was told.
    pub config: &'a Config,
    /// How far the pass came.
    pub progress: Progress<'a>,
    /// What the bucket is like; `None` for a volume, or when it could not be looked at.
    pub bucket: Option<&'a bucket::Outcome>,
    /// What a replica says of its store; `None` when there is none to ask.
    pub verdict: Option<&'a Verdict>,
    /// Why pods do not run.
    pub troubles: &'a Listed<PodTrouble>,
    /// The CronJob that checks the store, as it was when the pass began; `None` on a volume, or before there is one.
    pub fsck: Option<&'a CronJob>,
    /// Its Jobs, if they have to be looked at ([`soundness::is_open`]).
    pub jobs: &'a Listed<Job>,
}

/// The new status. Equal to the old one when nothing moved.
pub fn status_of(pass: &Pass<'_>, now: Timestamp) -> CargoRegistryStatus {
    let registry = pass.registry;
    let spec = &registry.spec;
    let name = registry.name_any();
    let generation = registry.metadata.generation.unwrap_or_default();
    let rollout = Rollout::of(pass.deployment(), validate::replicas(spec));
    let mut status = registry.status.clone().unwrap_or_default();
    if let Some(bucket) = pass.bucket.and_then(|outcome| outcome.status.clone()) {
        status.bucket = Some(bucket);
    }

    let mut all = pass.bucket_findings();
    all.extend(pass.store_sound(conditions::get(&status.conditions, STORE_SOUND)));
    let causes = pass.causes(&all);
    all.push(ready(&rollout, &causes));
    all.push(progressing(pass, &rollout));
    all.push(degraded(pass, &rollout, &causes));
    let found_out = conditions::get(&status.conditions, CONDITIONAL_WRITES).is_some_and(|c| c.status != "Unknown");
    all.extend(pass.conditional_writes(found_out));

    let mine = [&findings::ALL[..], &[READY, PROGRESSING, DEGRADED]].concat();
    let unsaid: Vec<&str> = mine.into_iter().filter(|type_| all.iter().all(|f| f.type_ != *type_)).collect();
    conditions::forget(&mut status.conditions, &unsaid);
    if spec.storage.s3.is_none() {
        conditions::forget(&mut status.conditions, &[CONDITIONAL_WRITES, STORE_SOUND]);
    }
    for finding in all {
        conditions::set(&mut status.conditions, finding, now, generation);
    }

    let in_cluster = || format!("http://{name}.{}.svc", registry.namespace().unwrap_or_default());
    let base = spec.expose.url.clone().unwrap_or_else(in_cluster);
    CargoRegistryStatus {
        conditions: status.conditions,
        observed_generation: Some(generation),
        index_url: Some(format!("sparse+{base}/index/")),
        api_url: Some(base),
        image: Some(spec.image.clone().unwrap_or_else(|| pass.config.registry_image.clone())),
        replicas: Some(rollout.existing),
        ready_replicas: Some(rollout.available),
        desired_replicas: Some(rollout.desired),
        selector: Some(names::selector_string(&names::selector(&name))),
        bucket: status.bucket,
    }
}

/// A Deployment's numbers.
#[derive(Debug, Default)]
struct Rollout {
    desired: i32,
    existing: i32,
    updated: i32,
    available: i32,
    /// The Deployment's controller has seen the last change.
    seen: bool,
    /// The Deployment's controller has given up waiting for progress.
    stuck: bool,
}

impl Rollout {
    fn of(deployment: Option<&Deployment>, desired: i32) -> Rollout {
        let Some(deployment) = deployment else { return Rollout { desired, ..Rollout::default() } };
        let status = deployment.status.clone().unwrap_or_default();
        Rollout {
            desired,
            existing: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            seen: status.observed_generation >= deployment.metadata.generation,
            stuck: status
                .conditions
                .iter()
                .flatten()
                .any(|c| c.type_ == "Progressing" && c.reason.as_deref() == Some("ProgressDeadlineExceeded")),
        }
    }

    fn complete(&self) -> bool {
        self.seen && self.updated == self.desired && self.available >= self.desired && self.existing == self.desired
    }
}

impl Pass<'_> {
    fn deployment(&self) -> Option<&Deployment> {
        let uid = self.registry.uid().unwrap_or_default();
        match &self.progress {
            Progress::Applied(resources) => Some(&resources.deployment),
            // One that bears our name without being ours says nothing about us.
            Progress::Refused(_, live) | Progress::Paused(live) => {
                live.deployment.as_ref().filter(|d| names::is_controlled_by(&d.metadata, &uid))
            }
        }
    }

    fn problems(&self) -> &[Problem] {
        match &self.progress {
            Progress::Refused(problems, _) => problems,
            _ => &[],
        }
    }

    fn bucket_findings(&self) -> Vec<Finding> {
        match (self.bucket, self.registry.spec.storage.s3.is_some()) {
            (Some(outcome), _) => outcome.findings.clone(),
            (None, false) => Vec::new(),
            (None, true) => {
                let problem = self.problems().first();
                let reason = problem.map_or("NotLookedAt", |p| p.reason);
                let message = problem.map_or("the bucket was not looked at", |p| p.message.as_str());
                let mut all = vec![Finding::new(findings::BUCKET_READY, Truth::Unknown, reason, message)];
                all.extend(findings::not_looked_at(&bucket_spec(&self.registry.spec)));
                all
            }
        }
    }

    /// Everything that is wrong, the deepest cause first.
    fn causes(&self, bucket: &[Finding]) -> Vec<Cause> {
        let mut causes: Vec<_> = self
            .problems()
            .iter()
            .map(|p| Cause { reason: p.reason, message: p.message.clone(), blocks: true })
            .collect();
        let is_false = |f: &&Finding| f.truth == Truth::False && f.reason != "Creating";
        causes.extend(bucket.iter().filter(is_false).map(|f| Cause {
            reason: f.reason,
            message: f.message.clone(),
            blocks: f.type_ == findings::BUCKET_READY,
        }));
        let of_store = match self.verdict {
            Some(Verdict::Refused(why)) => Some((
                "StoreRefused",
                format!("the store does not honour conditional writes, without which crates could be lost: {why}"),
            )),
            Some(Verdict::Unreachable(why)) => {
                Some(("StoreUnreachable", format!("replicas cannot use their store: {why}")))
            }
            _ => None,
        };
        causes.extend(of_store.map(|(reason, message)| Cause { reason, message, blocks: true }));
        causes.extend(self.troubles.found().iter().map(|t| Cause {
            reason: t.reason,
            message: format!("pod {}: {}", t.pod, t.message),
            blocks: true,
        }));
        // Not why a replica does not serve, but why nobody is told that.
        let refusals = [self.troubles.refusal(), self.jobs.refusal()].into_iter().flatten();
        causes.extend(refusals.map(|message| Cause {
            reason: "Forbidden",
            message: message.to_owned(),
            blocks: false,
        }));
        causes
    }

    /// What the last check of the store came to; what was said before holds while there is nothing new.
    fn store_sound(&self, before: Option<&Condition>) -> Option<Finding> {
        self.registry.spec.storage.s3.as_ref()?;
        if let Some(new) = self.fsck.and_then(|check| soundness::finding(check, self.jobs.found())) {
            return Some(new);
        }
        let unknown = |reason, message| Some(Finding::new(STORE_SOUND, Truth::Unknown, reason, message));
        match (before, self.jobs.refusal()) {
            (Some(before), _) if before.reason == soundness::FOUND_PROBLEMS => {
                let message = before.message.clone();
                Some(Finding::new(STORE_SOUND, Truth::False, soundness::FOUND_PROBLEMS, message))
            }
            (_, Some(refusal)) => {
                let message = format!("the last check of the store did not succeed, and why is not known: {refusal}");
                unknown("Forbidden", message)
            }
            (Some(_), None) => None,
            (None, None) => unknown("NotCheckedYet", "no check of the store has ended yet".to_owned()),
        }
    }

    fn conditional_writes(&self, known: bool) -> Option<Finding> {
        self.registry.spec.storage.s3.as_ref()?;
        let finding = |truth, reason, message: &str| Some(Finding::new(CONDITIONAL_WRITES, truth, reason, message));
        match self.verdict {
            Some(Verdict::Proven) => {
                finding(Truth::True, "Proven", "the store honours conditional writes; replicas prove it at every start")
            }
            Some(Verdict::Refused(why)) => finding(Truth::False, "Refused", why),
            Some(Verdict::Proving) if !known => finding(Truth::Unknown, "Proving", "a replica is finding out"),
            Some(Verdict::Unreachable(why)) if !known => finding(Truth::Unknown, "StoreUnreachable", why),
            Some(Verdict::Silent(why)) if !known => finding(Truth::Unknown, "NoAnswer", why),
            None if !known => finding(Truth::Unknown, "NoReplica", "no replica has started yet"),
            // It is a property of the store: what was found out stays until something else is.
            _ => None,
        }
    }
}

/// Something that is wrong, as the summary conditions tell it.
struct Cause {
    reason: &'static str,
    message: String,
    /// It can keep replicas from serving. A bucket without versioning, say, cannot.
    blocks: bool,
}

/// The first cause with all others in its message.
fn told<'a>(causes: impl IntoIterator<Item = &'a Cause>) -> Option<(&'static str, String)> {
    let mut causes = causes.into_iter().peekable();
    let reason = causes.peek()?.reason;
    let mut messages: Vec<&str> = Vec::new();
    for cause in causes {
        if !messages.contains(&cause.message.as_str()) {
            messages.push(&cause.message);
        }
    }
    Some((reason, messages.join("; ")))
}

fn ready(rollout: &Rollout, causes: &[Cause]) -> Finding {
    let Rollout { desired, available, .. } = rollout;
    if *available > 0 {
        return Finding::new(READY, Truth::True, "Serving", format!("{available} of {desired} replicas serve"));
    }
    if let Some((reason, message)) = told(causes.iter().filter(|cause| cause.blocks)) {
        return Finding::new(READY, Truth::False, reason, message);
    }
    if *desired == 0 {
        return Finding::new(
            READY,
            Truth::False,
            "ScaledToZero",
            "replicas is 0, so nothing serves; the crates are kept",
        );
    }
    Finding::new(READY, Truth::False, "Starting", format!("0 of {desired} replicas are ready yet"))
}

fn progressing(pass: &Pass<'_>, rollout: &Rollout) -> Finding {
    let Rollout { desired, existing, updated, available, .. } = rollout;
    let no = |reason, message: &str| Finding::new(PROGRESSING, Truth::False, reason, message);
    match &pass.progress {
        Progress::Paused(_) => no("Paused", "spec.paused is true: the operator changes nothing"),
        Progress::Refused(problems, _) => {
            no(problems.first().map_or("Refused", |p| p.reason), "nothing is changed until that is mended")
        }
        Progress::Applied(_) if rollout.complete() => no("RolledOut", "everything is as the spec says"),
        Progress::Applied(_) if rollout.stuck => no("RolloutStuck", "the new replicas do not become ready"),
        Progress::Applied(_) => {
            let message =
                format!("{updated} of {desired} replicas are up to date, {available} serve, {existing} exist");
            Finding::new(PROGRESSING, Truth::True, "RollingOut", message)
        }
    }
}

fn degraded(pass: &Pass<'_>, rollout: &Rollout, causes: &[Cause]) -> Finding {
    if let Some((reason, message)) = told(causes) {
        return Finding::new(DEGRADED, Truth::True, reason, message);
    }
    if rollout.stuck && !matches!(pass.progress, Progress::Paused(_)) {
        let message =
            format!("{} of {} replicas serve, and the others do not become ready", rollout.available, rollout.desired);
        return Finding::new(DEGRADED, Truth::True, "RolloutStuck", message);
    }
    Finding::new(DEGRADED, Truth::False, "AsExpected", "")
}

#[cfg(test)]
mod tests;
