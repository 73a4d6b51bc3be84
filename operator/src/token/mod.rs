//! `CargoToken`: a token is made, told to the registry by its hash, written into a Secret, replaced in time, revoked at the end.
//!
//! # Flow of a pass
//! 1. Being deleted: [`cleanup`]. Otherwise the finalizer is added first, so that no token is made that nobody will revoke.
//! 2. [`observe`]: the registry, its internal Secret, our Secret; all by name.
//! 3. [`validate`]: what is missing is told in `Ready`, and the object waits.
//! 4. [`plan`]: which token stays, which is replaced, which is revoked.
//! 5. If one is to be made: [`mint`] it and announce its hash in `status.issued`; then PUT the hash to the registry; then write the Secret; then
//!    revoke what is left over; then write status. So what a Secret holds is in force, and a crash anywhere leaves nothing forgotten.
//!
//! # Guarantees
//! - The token is in the Secret and, while an attempt to write it is under way, in this process; nowhere else. The registry, status and logs have
//!   its hash.
//! - A Secret that is not controlled by the object is never written.
//! - A pass over an unchanged object writes nothing, neither to Kubernetes nor, for ten minutes, to the registry.
//!
//! # Caveats
//! Secrets are not watched (that needs the right to read all of them), so a Secret that was deleted or edited is noticed by the next poll.

mod apply;
mod build;
mod cleanup;
pub mod files;
mod issue;
pub mod mint;
mod observe;
pub mod plan;
mod report;
mod validate;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kube::api::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use kube_runtime::controller::Action;
use kube_runtime::watcher;

use crate::admin_api::{AdminApi, AdminError};
use crate::context::Context;
use crate::controller::{self, Objects, Reconcile, Trigger, watch};
use crate::crd::conditions::{Finding, READY, Truth};
use crate::crd::registry::CargoRegistry;
use crate::crd::token::CargoToken;
use crate::error::{Error, Result};
use crate::{finalizer, names};
use mint::Token;
use validate::Admin;

/// The CargoToken controller: what it keeps between passes.
pub struct Tokens {
    internal_url: Box<dyn Fn(&str, &str) -> String + Send + Sync>,
    memory: Mutex<HashMap<(String, String), Memory>>,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens::reaching(|namespace, registry| names::internal_url(registry, namespace))
    }
}

#[derive(Clone, Default)]
struct Memory {
    uid: String,
    /// Made and announced, not yet in the Secret.
    pending: Option<Token>,
    /// Digest of what the registry was told last, and when.
    told: Option<([u8; 32], Timestamp)>,
}

/// Runs the controller over one namespace (`None`: the cluster) until `stop` resolves.
pub async fn run(context: Arc<Context>, namespace: Option<String>, stop: impl Future<Output = ()> + Send + 'static) {
    let tokens = Arc::new(Tokens::default());
    let triggers = {
        let (context, namespace) = (Arc::clone(&context), namespace.clone());
        move |objects: &Objects<CargoToken>| vec![registries(&context, namespace.as_deref(), objects.clone())]
    };
    controller::run(tokens, context, namespace.as_deref(), triggers, stop).await;
}

/// A change of a registry asks for a pass over each of its tokens: it may have become ready, or have got another URL.
fn registries(context: &Context, namespace: Option<&str>, objects: Objects<CargoToken>) -> Trigger<CargoToken> {
    let api: Api<PartialObjectMeta<CargoRegistry>> = match namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    watch::others(api, watcher::Config::default(), Tokens::NAME, "CargoRegistry", move |registry| {
        let (namespace, name) = (registry.namespace(), registry.name_any());
        let concerned = |token: &CargoToken| token.namespace() == namespace && token.spec.registry_ref.name == name;
        let of = |guarded: Arc<controller::Guarded<CargoToken>>| {
            let token = guarded.0.as_ref().ok().filter(|token| concerned(token))?;
            Some(controller::request(&token.namespace().unwrap_or_default(), &token.name_any()))
        };
        objects.state().into_iter().filter_map(of).collect::<Vec<_>>()
    })
}

impl Reconcile for Tokens {
    type Object = CargoToken;
    const NAME: &'static str = "cargotokens";

    async fn reconcile(&self, token: Arc<CargoToken>, context: Arc<Context>) -> Result<Action> {
        if token.meta().deletion_timestamp.is_some() {
            return cleanup::cleanup(self, &token, &context).await;
        }
        if !finalizer::is_present(token.as_ref(), names::TOKEN_FINALIZER) {
            let api: Api<CargoToken> = Api::namespaced(context.client.clone(), &token.namespace().unwrap_or_default());
            finalizer::add(&api, token.as_ref(), names::TOKEN_FINALIZER).await?;
            return Ok(Action::await_change());
        }
        let observed = observe::observe(&context, &token).await?;
        let poll = context.config.poll_interval();
        match validate::validate(&token, observed) {
            Ok(valid) => {
                let issued = issue::issue(self, &token, &valid, &context).await?;
                let next = issued.and_then(|issued| plan::next_event(&token.spec, &issued, (context.now)()));
                Ok(Action::requeue(next.map_or(poll, |next| next.min(poll))))
            }
            Err(blocked) => {
                block(&context, &token, blocked).await?;
                Ok(Action::requeue(poll))
            }
        }
    }

    async fn failed(&self, token: Arc<CargoToken>, error: &Error, context: Arc<Context>) {
        let api: Api<CargoToken> = Api::namespaced(context.client.clone(), &token.namespace().unwrap_or_default());
        // The pass may have written status itself, so take the object as it is now.
        let Ok(Some(live)) = api.get_opt(&token.name_any()).await else { return };
        if live.meta().deletion_timestamp.is_some() {
            return;
        }
        let ready = report::finding(READY, Truth::False, error.reason(), error.to_string());
        if let Err(error) = block(&context, &live, ready).await {
            tracing::debug!(%error, "the failure could not be written into status");
        }
    }

    fn gone(&self, namespace: &str, name: &str) {
        self.memory.lock().expect("no panic while it is held").remove(&(namespace.to_owned(), name.to_owned()));
    }
}

impl Tokens {
    /// A controller that reaches registries by `url(namespace, name)` instead of their Services, from outside a cluster.
    pub fn reaching(url: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Tokens {
        Tokens { internal_url: Box::new(url), memory: Mutex::default() }
    }

    /// Client of the admin API of the registry that `token` is for.
    fn admin(&self, token: &CargoToken, admin: &Admin) -> Result<AdminApi, AdminError> {
        let url = (self.internal_url)(&token.namespace().unwrap_or_default(), &token.spec.registry_ref.name);
        AdminApi::new(url, &admin.ca, admin.credential.clone())
    }

    fn remembered(&self, token: &CargoToken) -> Memory {
        let memory = self.memory.lock().expect("no panic while it is held");
        let uid = token.uid().unwrap_or_default();
        memory.get(&key(token)).filter(|m| m.uid == uid).cloned().unwrap_or(Memory { uid, ..Memory::default() })
    }

    fn remember(&self, token: &CargoToken, memory: &Memory) {
        self.memory.lock().expect("no panic while it is held").insert(key(token), memory.clone());
    }
}

fn key(token: &CargoToken) -> (String, String) {
    (token.namespace().unwrap_or_default(), token.name_any())
}

async fn block(context: &Context, token: &CargoToken, ready: Finding) -> Result<()> {
    let status = report::blocked(token, ready, (context.now)());
    apply::write_status(context, token, &status).await.map(drop)
}
