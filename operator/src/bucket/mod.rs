//! The bucket of a registry: looked at, made where the spec allows, kept as the spec wants it, and told about.
//!
//! # Flow of [`Buckets::reconcile`]
//! 1. An outcome that is younger than its `next_check`, for the same spec, keys and record, is given again without a request.
//! 2. [`S3::presence`] lists one key. What fails here is told in [`findings::BUCKET_READY`], and nothing is written.
//! 3. [`plan::decide`]: use it, announce it, make it, or stop. A bucket is announced in status before it is made, and one that was made
//!    is told with `next_check` zero before anything else is done to it, so that status says so first.
//! 4. [`S3::observe`] reads the sub-resources; [`plan::standings`] and [`plan::writes`] compare.
//! 5. [`S3::write`] sends what differs; then everything is read again, and only what is seen then counts as `True`.
//!
//! # Guarantees
//! - A sub-resource is read before it is written; one that the store does not know gets no request but that GET.
//! - No DELETE is ever sent, except DeleteBucket in [`release`] for a bucket that this object made and that is empty.
//! - A pass ends within its time, and what was not done by then is a condition.
//! - What the spec leaves out, rules and tags of others included, stays as it is.
//! - A bucket that was in use and is gone is not made again.
//! - A write that a store refused as unsupported, or took and does not show, is not repeated for an hour, unless spec or credentials change.
//!
//! # Caveats
//! S3 has no compare-and-swap for lifecycle and tags: a change by someone else within the milliseconds between our GET and our PUT is lost.

pub mod failure;
pub mod findings;
pub mod observed;
pub mod plan;
pub mod release;
pub mod s3;
pub mod target;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use crate::crd::bucket::{BucketOrigin, BucketSpec, BucketStatus};
use crate::crd::conditions::Finding;
use failure::Failure;
use findings::WriteFailures;
use plan::{Aspect, Step, Write};
pub use s3::{Content, S3};
pub use target::{Credentials, SecretError, StaticKeys, Target};

/// How often a healthy bucket is looked at.
const HEALTHY: Duration = Duration::from_secs(300);
/// How soon after a first failure: often the store is just starting, in the same `kubectl apply`.
const FAILED_FIRST: Duration = Duration::from_secs(1);
/// How soon after many, so that a mended one still shows within seconds.
const FAILED: Duration = Duration::from_secs(15);
/// How long a write that the store does not support is not sent again.
const UNSUPPORTED: SignedDuration = SignedDuration::from_hours(1);

/// How long one pass over a bucket may take in all. Each request has a deadline of its own, but a pass makes up to a dozen, one after
/// another, and has to end well before the deadline of the whole reconcile: that could only say that it struck.
pub const BUDGET: Duration = Duration::from_secs(25);

/// What to look at, on behalf of one CargoRegistry.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Identifies the object: its UID.
    pub uid: &'a str,
    /// `spec.bucket`.
    pub spec: &'a BucketSpec,
    /// The bucket.
    pub target: &'a Target,
    /// `status.bucket` as it was written last.
    pub recorded: Option<&'a BucketStatus>,
}

/// What was found and done.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The new `status.bucket`. `None`: leave what is recorded.
    pub status: Option<BucketStatus>,
    /// [`findings::BUCKET_READY`] and one per aspect.
    pub findings: Vec<Finding>,
    /// The bucket may be used: a registry on it can be started.
    pub usable: bool,
    /// What was changed in the bucket in this very call, one clause each: worth an event.
    pub changes: Vec<String>,
    /// When to look again. Zero: as soon as `status` is written.
    pub next_check: Duration,
}

/// The memory of all bucket passes: clients and outcomes by object, so that a reconcile for another reason costs no request to S3.
#[derive(Debug, Default)]
pub struct Buckets {
    seen: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    digest: [u8; 32],
    s3: S3,
    last: Option<(Timestamp, Outcome)>,
    /// What this process itself has found out last about who made the bucket.
    settled: Option<BucketStatus>,
    /// Passes since the bucket was last usable.
    failures: u32,
    unsupported: BTreeMap<Aspect, (Timestamp, Failure)>,
}

impl Buckets {
    /// Looks at the bucket and brings it to the spec, within [`BUDGET`]. Never fails: what goes wrong is a finding.
    pub async fn reconcile(&self, request: Request<'_>, now: Timestamp) -> Outcome {
        self.reconcile_within(BUDGET, request, now).await
    }

    /// As [`Buckets::reconcile`], within a time of the caller's choice. What is not done by then is told as a finding and done later.
    pub async fn reconcile_within(&self, budget: Duration, request: Request<'_>, now: Timestamp) -> Outcome {
        let deadline = Instant::now() + budget;
        let digest = digest(request.spec, request.target);
        let known = self.seen.lock().expect("no panic while it is held").get(request.uid).cloned();
        let settled = known.as_ref().and_then(|entry| entry.settled.clone());
        let mut entry = match known.filter(|entry| entry.digest == digest) {
            Some(entry) => entry,
            None => match S3::connect(request.target).await {
                Ok(s3) => {
                    let settled = settled.clone();
                    Entry { digest, s3, last: None, settled, failures: 0, unsupported: BTreeMap::new() }
                }
                Err(failure) => return failed(request, &failure),
            },
        };
        // A record may be older than what this process saw itself: the cache lags, or writing it failed.
        let own = settled.as_ref().filter(|own| own.name == request.target.bucket);
        let request = Request { recorded: own.or(request.recorded), ..request };
        if let Some(outcome) = entry.still_good(request.recorded, now) {
            return outcome;
        }
        entry.unsupported.retain(|_, (since, _)| now.duration_since(*since) < UNSUPPORTED);
        let mut outcome = pass(&entry.s3, request, &mut entry.unsupported, deadline, now).await;
        if outcome.usable {
            entry.failures = 0;
        } else if !outcome.next_check.is_zero() {
            // Each wait twice: what starts within a `kubectl apply` is seen a second or two after it is there.
            outcome.next_check = FAILED.min(FAILED_FIRST * 2u32.saturating_pow(entry.failures / 2));
            entry.failures += 1;
        }
        if let Some(status) = outcome.status.as_ref().filter(|status| status.origin != BucketOrigin::Creating) {
            entry.settled = Some(status.clone());
        }
        entry.last = Some((now, outcome.clone()));
        self.seen.lock().expect("no panic while it is held").insert(request.uid.to_owned(), entry);
        outcome
    }

    /// Drops what is remembered of an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.seen.lock().expect("no panic while it is held").remove(uid);
    }
}

impl Entry {
    /// The last outcome, while it is fresh and the record has not changed under it.
    fn still_good(&self, recorded: Option<&BucketStatus>, now: Timestamp) -> Option<Outcome> {
        let (at, outcome) = self.last.as_ref()?;
        let age = Duration::try_from(now.duration_since(*at)).ok()?;
        let same_record = outcome.status.is_none() || outcome.status.as_ref() == recorded;
        (age < outcome.next_check && same_record).then(|| Outcome {
            changes: Vec::new(),
            next_check: outcome.next_check - age,
            ..outcome.clone()
        })
    }
}

fn digest(spec: &BucketSpec, target: &Target) -> [u8; 32] {
    let spec = serde_json::to_vec(spec).expect("a spec of strings, numbers and enums serialises");
    Sha256::new().chain_update(target.fingerprint()).chain_update(spec).finalize().into()
}

/// One pass over a bucket, without memory but `unsupported`. For tests that want to see every request; a controller uses [`Buckets`].
pub async fn pass(
    s3: &S3,
    request: Request<'_>,
    unsupported: &mut BTreeMap<Aspect, (Timestamp, Failure)>,
    deadline: Instant,
    now: Timestamp,
) -> Outcome {
    let target = request.target;
    let presence = match timeout_at(deadline, s3.presence()).await.unwrap_or(Err(Failure::TooSlow)) {
        Ok(presence) => presence,
        Err(failure) => return failed(request, &failure),
    };
    let recorded = plan::remembered_origin(request.recorded, &target.bucket, target.endpoint.as_deref());
    let origin = match plan::decide(request.spec.creation_policy, recorded, &presence) {
        Step::Use(origin) => origin,
        Step::Announce => return announced(request),
        Step::Stop(stop) => return not_usable(request, findings::stopped(target, request.recorded, &stop)),
        Step::Create => match timeout_at(deadline, s3.create()).await.unwrap_or(Err(Failure::TooSlow)) {
            Ok(()) => return created(request),
            Err(failure) => return failed(request, &failure),
        },
    };
    // The bucket is there, so it may be used whatever becomes of its aspects.
    let (aspects, changes, next_check) = match timeout_at(deadline, keep(s3, request, unsupported, now)).await {
        Ok((aspects, changes)) => (aspects, changes, HEALTHY),
        Err(_) => (findings::too_slow(request.spec, target), Vec::new(), FAILED),
    };
    let mut all = vec![findings::ready(target, origin)];
    all.extend(aspects);
    Outcome { status: Some(status(target, origin)), findings: all, usable: true, changes, next_check }
}

/// Observe, write what differs, observe again.
async fn keep(
    s3: &S3,
    request: Request<'_>,
    unsupported: &mut BTreeMap<Aspect, (Timestamp, Failure)>,
    now: Timestamp,
) -> (Vec<Finding>, Vec<String>) {
    let Request { spec, target, .. } = request;
    let mut standings = plan::standings(spec, &target.key_prefix(), &s3.observe(spec).await);
    let mut failures: WriteFailures =
        unsupported.iter().map(|(aspect, (_, failure))| (*aspect, failure.clone())).collect();
    let writes: Vec<Write> =
        plan::writes(spec, &standings).into_iter().filter(|w| !unsupported.contains_key(&w.aspect())).collect();
    let mut written = Vec::new();
    for write in writes {
        let aspect = write.aspect();
        match s3.write(&write).await {
            Ok(()) => written.push(aspect),
            Err(failure) => {
                if matches!(failure, Failure::Unsupported(_)) {
                    unsupported.insert(aspect, (now, failure.clone()));
                }
                failures.insert(aspect, failure);
            }
        }
    }
    if !written.is_empty() {
        standings = plan::standings(spec, &target.key_prefix(), &s3.observe(spec).await);
        for (aspect, _) in standings.iter().filter(|(aspect, after)| written.contains(aspect) && after.differs()) {
            unsupported.insert(*aspect, (now, Failure::NotKept));
            failures.insert(*aspect, Failure::NotKept);
        }
    }
    let changes = written.iter().map(|aspect| format!("set {aspect}")).collect();
    (findings::judge(spec, target, &standings, &failures), changes)
}

fn status(target: &Target, origin: BucketOrigin) -> BucketStatus {
    BucketStatus {
        name: target.bucket.clone(),
        endpoint: target.endpoint.clone(),
        region: target.region.clone(),
        origin,
    }
}

fn announced(request: Request<'_>) -> Outcome {
    Outcome {
        status: Some(status(request.target, BucketOrigin::Creating)),
        next_check: Duration::ZERO,
        ..not_usable(request, findings::creating(request.target))
    }
}

fn created(request: Request<'_>) -> Outcome {
    Outcome {
        status: Some(status(request.target, BucketOrigin::Created)),
        usable: true,
        changes: vec![format!("created {}", request.target.describe())],
        next_check: Duration::ZERO,
        ..not_usable(request, findings::ready(request.target, BucketOrigin::Created))
    }
}

fn failed(request: Request<'_>, failure: &Failure) -> Outcome {
    not_usable(request, findings::failed(request.target, failure))
}

fn not_usable(request: Request<'_>, ready: Finding) -> Outcome {
    let mut findings = vec![ready];
    findings.extend(findings::not_looked_at(request.spec));
    Outcome { status: None, findings, usable: false, changes: Vec::new(), next_check: FAILED }
}
