//! From a token's text to a principal, and from a principal to yes or no. Every route comes through here, and here every
//! question goes to [`access::decide()`].

use std::collections::BTreeSet;

use super::known::{KnownCrate, KnownToken};
use super::{Registry, RegistryError};
use crate::access::{self, Action, Decision, Principal, Target, TokenHash};
use crate::krate::{CrateName, Owner, Record};

impl Registry {
    /// Whose token this is, if memory can tell.
    ///
    /// # Errors
    /// As [`Registry::authenticate`].
    pub fn authenticate_at_once(&self, token: &str) -> Option<Result<Principal, RegistryError>> {
        let hash = match self.hash_of(token) {
            Ok(hash) => hash,
            Err(error) => return Some(Err(error)),
        };
        let token = self.known_token_at_once(hash)?;
        Some(self.bearer(&token))
    }

    /// Whose token this is. A revocation holds on every replica when the call that revokes it returns.
    ///
    /// # Errors
    /// The text is not a token, the token is unknown, revoked or expired, the store does not answer.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, RegistryError> {
        if let Some(answer) = self.authenticate_at_once(token) {
            return answer;
        }
        let Some(token) = self.known_token(self.hash_of(token)?).await? else {
            return Err(refuse("the registry does not know this token: it may be for another one; get a new one and log in with `cargo login`".into()));
        };
        self.bearer(&token)
    }

    /// Rubbish is refused without a look into memory or the store.
    fn hash_of(&self, token: &str) -> Result<TokenHash, RegistryError> {
        self.check_ready()?;
        TokenHash::of_token(token).map_err(|error| refuse(error.to_string()))
    }

    fn bearer(&self, token: &KnownToken) -> Result<Principal, RegistryError> {
        self.enter(&token.principal)?;
        Ok(token.principal.clone())
    }

    /// Who asks without a token.
    ///
    /// # Errors
    /// The registry is private.
    pub fn anonymous(&self) -> Result<Principal, RegistryError> {
        self.enter(&Principal::Anonymous)?;
        self.check_ready()?;
        Ok(Principal::Anonymous)
    }

    fn enter(&self, principal: &Principal) -> Result<(), RegistryError> {
        // `enter` is about the registry as a whole; there is no crate to name.
        refusal(access::enter(principal, self.visibility, self.clock.now()), principal, "")
    }

    /// The decision on one crate. `owners` are those of the record at the moment of the decision, `None` if there is no such crate.
    pub(super) fn authorise(
        &self,
        principal: &Principal,
        action: Action,
        name: &CrateName,
        owners: Option<&BTreeSet<Owner>>,
    ) -> Result<(), RegistryError> {
        let decision = access::decide(principal, action, Target { name, owners }, self.visibility, self.clock.now());
        refusal(decision, principal, name.as_str())
    }

    /// The same for a crate that must exist: an absent one and a hidden one look alike.
    pub(super) fn authorise_existing<'r, C: Existing>(
        &self,
        principal: &Principal,
        action: Action,
        asked: &CrateName,
        record: Option<&'r C>,
    ) -> Result<&'r C, RegistryError> {
        let record = record.filter(|record| record.is_visible());
        let name = record.map_or(asked, C::name);
        self.authorise(principal, action, name, record.map(C::owners))?;
        record.ok_or_else(|| absent(asked.as_str()))
    }
}

/// What may be a crate to its readers, in either form.
pub(super) trait Existing {
    fn name(&self) -> &CrateName;
    fn owners(&self) -> &BTreeSet<Owner>;
    fn is_visible(&self) -> bool;
}

impl Existing for Record {
    fn name(&self) -> &CrateName {
        Self::name(self)
    }

    fn owners(&self) -> &BTreeSet<Owner> {
        Self::owners(self)
    }

    fn is_visible(&self) -> bool {
        Self::is_visible(self)
    }
}

impl Existing for KnownCrate {
    fn name(&self) -> &CrateName {
        Self::name(self)
    }

    fn owners(&self) -> &BTreeSet<Owner> {
        Self::owners(self)
    }

    fn is_visible(&self) -> bool {
        Self::is_visible(self)
    }
}

fn refuse(text: String) -> RegistryError {
    RegistryError::Unauthenticated { had_token: true, text }
}

/// The user behind a change; there is always one, because anonymous may only read.
pub(super) fn actor(principal: &Principal) -> Result<&Owner, RegistryError> {
    principal.user().ok_or_else(|| RegistryError::Unauthenticated {
        had_token: false,
        text: "this needs a token: log in with `cargo login`".into(),
    })
}

/// One text for what does not exist and for what may not be seen.
pub(super) fn absent(name: &str) -> RegistryError {
    RegistryError::NotFound(format!("this registry has no crate `{name}` that you may see"))
}

fn refusal(decision: Decision, principal: &Principal, name: &str) -> Result<(), RegistryError> {
    match decision {
        Decision::Allowed => Ok(()),
        Decision::Hidden => Err(absent(name)),
        Decision::Denied(denial) => Err(RegistryError::Forbidden(denial.text)),
        Decision::Unauthenticated(text) => {
            Err(RegistryError::Unauthenticated { had_token: principal.user().is_some(), text })
        }
    }
}
