//! From a token's text to a principal, and from a principal to yes or no. Every route comes through here, and here every
//! question goes to [`access::decide()`].

use std::collections::BTreeSet;

use super::{Registry, RegistryError};
use crate::access::{self, Action, Decision, Principal, Target, TokenSecret};
use crate::krate::{CrateName, Owner, Record};

impl Registry {
    /// Whose token this is. A revocation holds on every replica when the call that revokes it returns.
    ///
    /// # Errors
    /// The text is not a token, the token is unknown, revoked or expired, the store does not answer.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, RegistryError> {
        self.check_ready()?;
        let refuse = |text: String| RegistryError::Unauthenticated { had_token: true, text };
        // Rubbish is refused without a look into the store.
        let secret = TokenSecret::parse(token).map_err(|error| refuse(error.to_string()))?;
        let hash = secret.hash();
        let Some(record) = self.token_shared(hash).await? else {
            return Err(refuse("the registry does not know this token: it may be for another one; get a new one and log in with `cargo login`".into()));
        };
        let principal = Principal::of_token(hash, &record);
        self.enter(&principal)?;
        Ok(principal)
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
    pub(super) fn authorise_existing<'r>(
        &self,
        principal: &Principal,
        action: Action,
        asked: &CrateName,
        record: Option<&'r Record>,
    ) -> Result<&'r Record, RegistryError> {
        let record = record.filter(|record| record.is_visible());
        let name = record.map_or(asked, Record::name);
        self.authorise(principal, action, name, record.map(Record::owners))?;
        record.ok_or_else(|| absent(asked.as_str()))
    }
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
