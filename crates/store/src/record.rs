//! Rows of identities, independent of the database, and the effect of a change on them.

use std::sync::Arc;

use thiserror::Error;

use crate::key_ring::KeyRing;
use crate::seal::{SealError, SealingKey};
use realmgate_core::{
    Change, History, Identity, IdentityId, ImportedIdentity, Parameters, ParametersError, Previous,
    Principal, PrincipalError, Rare, Seed, Seeds, State, Terms, Totp, UnixTime, Usage, Version,
};

/// The columns of an identity, in the order in which rows are read. The table of identities has the
/// alias `i`, that of their uses `u`.
pub(super) const COLUMNS: &str =
    "i.id, i.name, i.realm, i.seed, i.algorithm, i.digits, i.period, i.state, i.created, i.updated,
    i.previous_seed, i.previous_until, i.not_before, i.expires, i.comment, i.pardoned, u.used,
    u.previous_used, u.drift, i.revision, i.seed_made, i.previous_made";

/// The columns of an identity. Times are seconds since 1970.
pub(super) struct Record<'a> {
    pub(super) id: i64,
    pub(super) name: &'a str,
    pub(super) realm: &'a str,
    pub(super) seed: &'a [u8],
    pub(super) algorithm: &'a str,
    pub(super) digits: i64,
    pub(super) period: i64,
    pub(super) state: &'a str,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) previous_seed: Option<&'a [u8]>,
    pub(super) previous_until: Option<i64>,
    pub(super) not_before: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) comment: Option<&'a str>,
    pub(super) unthrottled: i64,
    pub(super) used: Option<i64>,
    pub(super) previous_used: Option<i64>,
    pub(super) drift: Option<i64>,
    pub(super) version: i64,
    pub(super) seed_made: Option<i64>,
    pub(super) previous_made: Option<i64>,
}

impl Record<'_> {
    /// Decrypts the seeds.
    ///
    /// A seed that does not decrypt is logged and left out: the identity exists, but no token is
    /// valid for it.
    pub(super) fn open(self, ring: &KeyRing) -> Result<Identity, RecordError> {
        let principal = principal(self.name, self.realm)?;
        let parameters = Parameters::new(
            self.algorithm.parse()?,
            self.digits.try_into().map_err(|_| RecordError::Number)?,
            self.period.try_into().map_err(|_| RecordError::Number)?,
        )?;
        let totp = |sealed: &[u8]| match ring.open(sealed, principal.as_ref()) {
            Ok(seed) => Some(Totp::new(&seed, parameters)),
            Err(error) => {
                tracing::error!(name = principal.name(), realm = principal.realm(), %error, "cannot decrypt a seed");
                None
            }
        };
        let present = totp(self.seed);
        let previous = self.previous_seed.and_then(totp);
        let has_lost_previous = self.previous_seed.is_some() && previous.is_none();
        let never = UnixTime::from_secs(0);
        let time = |secs: Option<i64>| secs.map(unix_time);
        let until = time(self.previous_until).unwrap_or(never);
        Ok(Identity {
            id: IdentityId(self.id),
            is_partial: present.is_none() || has_lost_previous,
            seeds: Seeds::new(present, previous.map(|totp| Previous { totp, until })).into(),
            rare: Rare {
                terms: Terms {
                    not_before: time(self.not_before),
                    expires: time(self.expires),
                    comment: self.comment.map(Into::into),
                },
                unthrottled: unix_time(self.unthrottled),
                previous_made: time(self.previous_made),
                previous_usage: Usage::new(time(self.previous_used).unwrap_or(never), 0),
            }
            .boxed(self.previous_seed.is_some()),
            usage: Usage::new(
                time(self.used).unwrap_or(never),
                self.drift.unwrap_or_default(),
            ),
            parameters,
            principal,
            state: match self.state {
                "enabled" => State::Enabled,
                _ => State::Disabled,
            },
            created: unix_time(self.created),
            updated: unix_time(self.updated),
            history: History {
                version: Version(self.version),
                // Before schema 7 this was not recorded. The first seed is as old as its identity.
                seed_made: time(
                    self.seed_made
                        .or((self.updated == self.created).then_some(self.created)),
                ),
            },
            derived: Default::default(),
        })
    }
}

/// The columns that a change writes.
pub(super) struct Revision {
    pub(super) principal: Principal,
    /// `None` leaves the column as it is.
    pub(super) seed: Option<Vec<u8>>,
    pub(super) previous_seed: Option<Vec<u8>>,
    pub(super) previous_until: Option<i64>,
    pub(super) seed_made: Option<i64>,
    pub(super) previous_made: Option<i64>,
    pub(super) state: &'static str,
    pub(super) terms: Terms,
    pub(super) unthrottled: i64,
    /// Whether the seed is replaced, so that the last use of the old one is cleared.
    pub(super) has_new_seed: bool,
    /// Whether the old seed stays valid for a while.
    pub(super) has_grace: bool,
}

impl Revision {
    /// Computes the columns that a change writes, and encrypts the seeds with `key`.
    pub(super) fn of(
        old: &Identity,
        change: &Change,
        key: &SealingKey,
        now: UnixTime,
    ) -> Result<Self, RecordError> {
        let principal = principal(
            change.name.as_deref().unwrap_or(old.principal.name()),
            change.realm.as_deref().unwrap_or(old.principal.realm()),
        )?;
        // A sealed seed is bound to its principal: another name requires sealing it again.
        // A row that was just read has its seeds.
        let of_old = old.seeds().unwrap_or_default();
        let seed = match (&change.seed, of_old.present()) {
            (Some(seed), _) => Some(seed.clone()),
            (None, Some(totp)) if principal != old.principal => Some(totp.seed()),
            _ => None,
        };
        // With a grace period, a replaced seed becomes the previous one. Otherwise it ends at once,
        // as the one before it does in either case.
        let (previous, until) = match (
            &change.seed,
            change.grace,
            of_old.present(),
            of_old.replaced(),
        ) {
            (Some(_), Some(until), Some(totp), _) => (Some(totp.seed()), Some(until)),
            (None, _, _, Some(previous)) => (Some(previous.totp.seed()), Some(previous.until)),
            _ => (None, None),
        };
        // No two seeds of an identity are made at the same time, so that it tells them apart.
        let made = old.history.seed_made.map_or(now, |before| {
            now.max(UnixTime::from_secs(before.as_secs().saturating_add(1)))
        });
        let (seed_made, previous_made) = match (&change.seed, &previous) {
            (Some(_), Some(_)) => (Some(made), old.history.seed_made),
            (Some(_), None) => (Some(made), None),
            (None, _) => (old.history.seed_made, old.previous_made()),
        };
        let seal = |seed: Option<Seed>| {
            let sealed = seed.map(|seed| key.seal(&seed, principal.as_ref()));
            sealed.transpose()
        };
        let (seed, previous_seed) = (seal(seed)?, seal(previous)?);
        let unthrottled = if change.unthrottle {
            // Also covers failures of the current second.
            UnixTime::from_secs(now.as_secs().saturating_add(1))
        } else {
            old.unthrottled()
        };
        Ok(Self {
            seed,
            previous_seed,
            previous_until: until.map(sql_time),
            seed_made: seed_made.map(sql_time),
            previous_made: previous_made.map(sql_time),
            state: state_text(change.state.unwrap_or(old.state)),
            terms: change.terms.as_ref().unwrap_or(old.terms()).clone(),
            unthrottled: sql_time(unthrottled),
            has_new_seed: change.seed.is_some(),
            has_grace: change.grace.is_some(),
            principal,
        })
    }
}

/// Returns an identity as it is read after it was inserted with a number.
pub(super) fn inserted(id: IdentityId, new: ImportedIdentity, now: UnixTime) -> Identity {
    let present = Some(Totp::new(&new.seed, new.parameters));
    Identity {
        id,
        principal: new.principal,
        seeds: Seeds::new(present, None).into(),
        is_partial: false,
        parameters: new.parameters,
        state: new.state,
        rare: Rare {
            terms: new.terms,
            ..Rare::default()
        }
        .boxed(false),
        usage: Usage::default(),
        derived: Default::default(),
        created: new.created,
        updated: now,
        history: History {
            version: Version(FIRST_VERSION),
            seed_made: Some(now),
        },
    }
}

/// The version of a new identity.
const FIRST_VERSION: i64 = 1;

/// Makes a principal of a name and a realm in the database. Their length was checked when they were
/// written, against a limit that may have changed since.
pub(super) fn principal(name: &str, realm: &str) -> Result<Principal, PrincipalError> {
    Principal::new(name, realm, usize::MAX)
}

pub(super) const fn state_text(state: State) -> &'static str {
    match state {
        State::Enabled => "enabled",
        State::Disabled => "disabled",
    }
}

pub(super) fn sql_time(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn unix_time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

/// Why a row cannot be read or written. Never contains a seed.
#[derive(Clone, Debug, Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Principal(#[from] PrincipalError),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("a number is out of range")]
    Number,
    #[error("the used steps of identity {} cannot be read; `realmgate identity unthrottle` resets them", .0.0)]
    Steps(IdentityId),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Returns the key to encrypt with, by its ID in the database.
pub(super) fn key_to_seal(
    ring: &KeyRing,
    id: crate::seal::KeyId,
) -> Result<Arc<SealingKey>, RecordError> {
    ring.find(id)
        .ok_or(RecordError::Seal(SealError::NotHeld(id)))
}
