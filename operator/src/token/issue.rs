//! The part of a pass that hands out: announce, tell the registry, write the Secret, revoke what is left over, report.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Resource;
use kube_runtime::events::EventType;
use sha2::{Digest, Sha256};

use super::mint::Token;
use super::plan::{self, Plan, Why};
use super::report::{self, REGISTERED, SECRET_WRITTEN};
use super::validate::ValidatedToken;
use super::{Memory, Tokens, apply, block, build};
use crate::admin_api::AdminError;
use crate::context::Context;
use crate::crd::conditions::{self, READY, Truth};
use crate::crd::token::{CargoToken, IssuedToken};
use crate::error::{Error, Result};

/// One pass over one object, from the plan on.
struct Issue<'a> {
    tokens: &'a Tokens,
    valid: &'a ValidatedToken,
    context: &'a Context,
    now: Timestamp,
    /// The object as this pass last wrote it.
    token: CargoToken,
    /// `status.issued` as this pass will leave it.
    issued: Vec<IssuedToken>,
    plan: Plan,
    memory: Memory,
}

/// What the registry has to say to what it is told.
enum Told {
    Done,
    /// It was revoked there, by this hash.
    Revoked(String),
    /// It finds user or grants wrong.
    Refused(String),
}

/// Brings registry, Secret and status to what the plan says. Returns what is issued then; `None` if the object has to wait.
pub(super) async fn issue(
    tokens: &Tokens,
    token: &CargoToken,
    valid: &ValidatedToken,
    context: &Arc<Context>,
) -> Result<Option<Vec<IssuedToken>>> {
    let mut pass = Issue::begin(tokens, token, valid, context);
    let mut tell = pass.has_news();
    if !valid.registry_is_ready {
        if pass.needs_registry() {
            let why = format!("CargoRegistry {} is not Ready; see its conditions", token.spec.registry_ref.name);
            block(context, token, report::finding(READY, Truth::False, "RegistryNotReady", why)).await?;
            return Ok(None);
        }
        // A token that works is not called broken because the registry has a bad minute.
        tell = false;
    }
    pass.announce().await?;
    let value = pass.value()?;
    if tell || pass.plan.mint.is_some() {
        match pass.tell().await? {
            Told::Done => {}
            Told::Revoked(sha256) => return pass.revoked_elsewhere(&sha256).await.map(|()| None),
            Told::Refused(why) => {
                let message = format!("the registry refuses the token's user or grants: {why}");
                block(context, &pass.token, report::finding(READY, Truth::False, "Refused", message)).await?;
                return Ok(None);
            }
        }
    }
    let wanted = build::secret(&pass.token, valid, &value);
    if !valid.secret.as_ref().is_some_and(|live| build::is_as_wanted(live, &wanted)) {
        apply::write_secret(context, &wanted, valid.secret.as_ref()).await?;
    }
    pass.memory.pending = None;
    pass.revoke_left_over().await?;
    pass.report(&value).await?;
    tokens.remember(token, &pass.memory);
    Ok(Some(pass.issued))
}

impl<'a> Issue<'a> {
    fn begin(tokens: &'a Tokens, token: &CargoToken, valid: &'a ValidatedToken, context: &'a Context) -> Issue<'a> {
        let now = (context.now)();
        let mut memory = tokens.remembered(token);
        let issued = token.status.as_ref().map(|s| s.issued.clone()).unwrap_or_default();
        memory.pending = memory.pending.filter(|pending| issued.iter().any(|t| t.sha256 == pending.sha256()));
        let pending = memory.pending.as_ref().map(Token::sha256);
        let in_secret = valid.in_secret.as_ref().map(Token::sha256);
        let plan = plan::plan(&token.spec, &issued, in_secret.as_deref(), pending.as_deref(), now);
        Issue { tokens, valid, context, now, token: token.clone(), issued, plan, memory }
    }

    /// Whether the registry has to be told something that it was not told lately.
    fn has_news(&self) -> bool {
        let lately = |(told, at): (_, Timestamp)| told == self.digest() && apply::still_told(at, self.now);
        !self.memory.told.is_some_and(lately)
    }

    /// Whether nothing can be done without the registry.
    fn needs_registry(&self) -> bool {
        let status = self.token.status.as_ref();
        let ready = status.and_then(|s| conditions::get(&s.conditions, READY));
        let stands = ready.is_some_and(|c| c.status == "True" && c.observed_generation == self.token.meta().generation);
        self.plan.mint.is_some() || !self.plan.revoke.is_empty() || !stands
    }

    /// Makes a token, if one is needed and none waits from an attempt before, and writes its hash into status.
    async fn announce(&mut self) -> Result<()> {
        if self.plan.mint.is_none() || self.memory.pending.is_some() {
            return Ok(());
        }
        let fresh = Token::mint(self.context.fill_random);
        self.issued = plan::announce(&self.token.spec, &self.plan, &self.issued, &fresh.sha256(), self.now);
        // While an old token is still good, only the list changes.
        let mut status = match &self.plan.current {
            Some(_) => report::with(&self.token, [], self.now),
            None => report::blocked(
                &self.token,
                report::finding(READY, Truth::False, "Issuing", "a token is being made"),
                self.now,
            ),
        };
        status.issued.clone_from(&self.issued);
        self.token = apply::write_status(self.context, &self.token, &status).await?;
        self.memory.pending = Some(fresh);
        self.tokens.remember(&self.token, &self.memory);
        Ok(())
    }

    /// The token that belongs into the Secret.
    fn value(&self) -> Result<Token> {
        let value = if self.plan.mint.is_some() { &self.memory.pending } else { &self.valid.in_secret };
        let lost =
            || Error::Internal { action: "issue a token", message: "there is neither a new one nor an old one".into() };
        value.clone().ok_or_else(lost)
    }

    /// Tells the registry of every token that is in force.
    async fn tell(&mut self) -> Result<Told> {
        let api = self.tokens.admin(&self.token, &self.valid.admin).map_err(|e| self.failed(&e))?;
        for one in self.issued.iter().filter(|one| !self.plan.revoke.contains(one)) {
            match api.put_token(&one.sha256, &apply::wanted(&self.token, one)).await {
                Ok(_) => {}
                Err(AdminError::Conflict(_)) => return Ok(Told::Revoked(one.sha256.clone())),
                Err(AdminError::Refused(why)) => return Ok(Told::Refused(why)),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        self.memory.told = Some((self.digest(), self.now));
        Ok(Told::Done)
    }

    async fn revoke_left_over(&mut self) -> Result<()> {
        if self.plan.revoke.is_empty() {
            return Ok(());
        }
        let api = self.tokens.admin(&self.token, &self.valid.admin).map_err(|e| self.failed(&e))?;
        for old in &self.plan.revoke {
            api.revoke_token(&old.sha256).await.map_err(|e| self.failed(&e))?;
        }
        self.issued.retain(|one| !self.plan.revoke.contains(one));
        Ok(())
    }

    async fn report(&mut self, value: &Token) -> Result<()> {
        let sha256 = value.sha256();
        let lost = || Error::Internal {
            action: "issue a token",
            message: "the token in the Secret is not among those issued".into(),
        };
        let current = self.issued.iter().find(|one| one.sha256 == sha256).ok_or_else(lost)?;
        let status = report::handed_out(&self.token, &self.issued, current, self.now);
        apply::write_status(self.context, &self.token, &status).await?;
        let (reason, note) = match self.plan.mint {
            None => return Ok(()),
            Some(Why::First) => ("Issued", "made a token"),
            Some(Why::Due) => ("Rotated", "replaced the token in time; the old one stays in force to its end"),
            Some(Why::Lost) => {
                ("Replaced", "the Secret was deleted or changed: made another token and revoked the old one")
            }
        };
        tracing::info!(reason, sha256, "token handed out");
        self.context.event(&self.token.object_ref(&()), EventType::Normal, reason, "Issue", note.to_owned()).await;
        Ok(())
    }

    /// Someone revoked the token at the registry: it is dead, so it is forgotten, and the next pass makes another.
    async fn revoked_elsewhere(&self, sha256: &str) -> Result<()> {
        const NOTE: &str = "the token was revoked at the registry; another is being made";
        let findings =
            [REGISTERED, SECRET_WRITTEN, READY].map(|type_| report::finding(type_, Truth::False, "Revoked", NOTE));
        let mut status = report::with(&self.token, findings, self.now);
        status.issued.retain(|one| one.sha256 != sha256);
        apply::write_status(self.context, &self.token, &status).await?;
        self.context.event(&self.token.object_ref(&()), EventType::Warning, "Revoked", "Issue", NOTE.to_owned()).await;
        Ok(())
    }

    /// Digest of all that the registry is told.
    fn digest(&self) -> [u8; 32] {
        let in_force = self.issued.iter().filter(|one| !self.plan.revoke.contains(one));
        let all: Vec<_> = in_force.map(|one| (&one.sha256, apply::wanted(&self.token, one))).collect();
        Sha256::digest(serde_json::to_vec(&all).expect("strings and lists serialise")).into()
    }

    fn failed(&self, error: &AdminError) -> Error {
        apply::admin_failed(&self.valid.registry, error)
    }
}
