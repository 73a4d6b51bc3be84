//! The decision.
//!
//! | what | allowed if |
//! |---|---|
//! | read | the registry is public, or the token has `Read` on the crate |
//! | publish a new crate | the token has `PublishNew` on the name; its user becomes the owner |
//! | publish a version | `PublishUpdate` on the crate, and (its user is an owner, or it has `Admin` on the crate) |
//! | yank, unyank | `Yank`, and owner or `Admin` likewise |
//! | change owners | `Owners`, and owner or `Admin` likewise |
//!
//! A crate that the caller may not read looks like one that does not exist: [`Decision::Hidden`] for what acts on an existing
//! crate, and for a publish the same refusal whether the name is taken or free.
//! An expired or revoked token may nothing, also in a public registry: better a clear error than a silent downgrade.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::principal::TokenPrincipal;
use super::{CratePattern, Grant, Principal, Verb};
use crate::krate::{CrateName, Owner};

/// Who may read without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Nobody.
    #[default]
    Private,
    /// Everybody.
    Public,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See it: index file, search result, download, list of owners.
    Read,
    /// Publish a version of it, the first or a further one.
    Publish,
    /// Yank or unyank a version.
    Yank,
    /// Add or remove owners.
    ChangeOwners,
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The crate.
    pub name: &'a CrateName,
    /// Its owners; `None` if there is no such crate.
    pub owners: Option<&'a BTreeSet<Owner>>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// 404, exactly as for a crate that does not exist.
    Hidden,
    /// 403 with this text.
    Denied(Denial),
    /// 401 with this text and the challenge: a (better) token is needed.
    Unauthenticated(String),
}

/// Why a known caller may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// For metrics and logs.
    pub reason: DenialReason,
    /// For the user: what is missing, and whom to ask.
    pub text: String,
}

/// Why a known caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialReason {
    /// The token lacks this verb on the crate.
    Verb(Verb),
    /// The token may not publish under this name, or the name is not for it to see.
    Name,
    /// The user is not an owner.
    NotOwner,
}

/// What one caller may read: [`decide`] with [`Action::Read`], for whoever asks about many crates.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'p> {
    all: bool,
    grants: &'p [Grant],
}

impl<'p> Reader<'p> {
    /// Of this caller. Who may not [`enter`] reads nothing.
    #[must_use]
    pub fn new(principal: &'p Principal, visibility: Visibility, now: Timestamp) -> Self {
        if enter(principal, visibility, now) != Decision::Allowed {
            return Self { all: false, grants: &[] };
        }
        match principal {
            Principal::Token(token) => {
                let of_all = |grant: &Grant| grant.patterns(Verb::Read).iter().any(CratePattern::is_all);
                let all = visibility == Visibility::Public || token.grants.iter().any(of_all);
                Self { all, grants: &token.grants }
            }
            Principal::Anonymous => Self { all: true, grants: &[] },
        }
    }

    /// Whether there is nothing that it may not read.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        self.all
    }

    /// Whether it may read the crate with this canonical name.
    #[must_use]
    pub fn may_read(&self, canonical: &str) -> bool {
        let matches = |pattern: &CratePattern| pattern.matches_canonical(canonical);
        self.all || self.grants.iter().any(|grant| grant.patterns(Verb::Read).iter().any(matches))
    }
}

/// Whether the caller may speak to the registry at all: `config.json`, search, `/me`.
#[must_use]
pub fn enter(principal: &Principal, visibility: Visibility, now: Timestamp) -> Decision {
    match (principal, visibility) {
        (Principal::Token(token), _) => match ended(token, now) {
            Some(text) => Decision::Unauthenticated(text),
            None => Decision::Allowed,
        },
        (Principal::Anonymous, Visibility::Public) => Decision::Allowed,
        (Principal::Anonymous, Visibility::Private) => {
            Decision::Unauthenticated("this registry is private: log in with `cargo login`".to_owned())
        }
    }
}

/// The one decision. For [`Action::Publish`], `target.owners` decides which verb is needed; the caller passes what the
/// crate record says at the moment of the commit.
#[must_use]
pub fn decide(
    principal: &Principal,
    action: Action,
    target: Target<'_>,
    visibility: Visibility,
    now: Timestamp,
) -> Decision {
    let entered = enter(principal, visibility, now);
    if entered != Decision::Allowed {
        return entered;
    }
    let Principal::Token(token) = principal else {
        return match action {
            Action::Read => Decision::Allowed,
            _ => Decision::Unauthenticated("this needs a token: log in with `cargo login`".to_owned()),
        };
    };
    let canonical = target.name.canonical();
    let readable = Reader::new(principal, visibility, now).may_read(canonical.as_str());
    let verb = match (action, target.owners) {
        (Action::Read, _) if readable => return Decision::Allowed,
        (Action::Read, _) => return Decision::Hidden,
        (Action::Publish, None) => Verb::PublishNew,
        (Action::Publish, Some(_)) => Verb::PublishUpdate,
        (Action::Yank, _) => Verb::Yank,
        (Action::ChangeOwners, _) => Verb::Owners,
    };
    if !token.holds(verb, &canonical) {
        return match (readable, action) {
            (true, _) => denied(DenialReason::Verb(verb), lacks(token, verb, target)),
            // Free or taken, the answer is the same.
            (false, Action::Publish) => denied(DenialReason::Name, may_not_publish(token, target.name)),
            (false, _) => Decision::Hidden,
        };
    }
    match target.owners {
        // Nothing to act on; the caller finds that out by itself, and answers as for a hidden one.
        None => Decision::Allowed,
        Some(owners) if owners.contains(&token.user) || token.holds(Verb::Admin, &canonical) => Decision::Allowed,
        Some(owners) if readable => denied(DenialReason::NotOwner, not_owner(token, target.name, owners)),
        Some(_) if action == Action::Publish => denied(DenialReason::Name, may_not_publish(token, target.name)),
        Some(_) => Decision::Hidden,
    }
}

/// Why the token is good no more.
fn ended(token: &TokenPrincipal, now: Timestamp) -> Option<String> {
    if let Some(at) = token.revoked_at {
        return Some(format!("the token of `{}` was revoked at {at:.0}: log in with a new one", token.user));
    }
    let at = token.expires_at.filter(|at| *at <= now)?;
    Some(format!("the token of `{}` expired at {at:.0}: log in with a new one", token.user))
}

fn denied(reason: DenialReason, text: String) -> Decision {
    Decision::Denied(Denial { reason, text })
}

fn lacks(token: &TokenPrincipal, verb: Verb, target: Target<'_>) -> String {
    let (user, name) = (&token.user, target.name);
    let what = match verb {
        Verb::PublishNew => "publish a new crate named",
        Verb::PublishUpdate => "publish a version of the crate",
        Verb::Yank => "yank or unyank versions of the crate",
        Verb::Owners => "change the owners of the crate",
        Verb::Read | Verb::Admin => "act on the crate",
    };
    format!("the token of `{user}` may not {what} `{name}`: it has no grant with the verb {verb} on that name")
}

fn may_not_publish(token: &TokenPrincipal, name: &CrateName) -> String {
    format!("the token of `{}` may not publish under the name `{name}`", token.user)
}

fn not_owner(token: &TokenPrincipal, name: &CrateName, owners: &BTreeSet<Owner>) -> String {
    const SHOWN: usize = 5;
    let mut list = owners.iter().take(SHOWN).map(|owner| format!("`{owner}`")).collect::<Vec<_>>().join(", ");
    if owners.len() > SHOWN {
        list.push_str(" and others");
    }
    let user = &token.user;
    format!(
        "`{user}` is not an owner of the crate `{name}`; its owners ({list}) can change that: \
         `cargo owner --add {user} {name}`"
    )
}

#[cfg(test)]
mod tests;
