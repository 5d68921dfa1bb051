use std::sync::Arc;

use parking_lot::Mutex;

use super::credential::{Credential, Presented};
use super::decision::{Attempt, Decision, Denial, Permit, Refusal};
use super::policy::Policy;
use super::realm::Realms;
use super::seed::Seed;
use super::store::{Counts, Identity, Notes, Recall, State, Store, StoreError};
use super::throttle::{Scope, Subject, Throttle, ThrottleSettings, Verdict};
use super::time::UnixTime;
use super::totp::{Parameters, Step, Totp};
use super::usage::Use;

/// The most counts that are saved at a time.
const SAVED: usize = 10_000;

/// What the authority is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The reserved realms.
    pub realms: Realms,
    /// How many steps are accepted on each side of the current one.
    pub window: u8,
    /// The parameters of most identities: unknown principals cost as much work as they do.
    pub parameters: Parameters,
    /// How guessing is slowed down.
    pub throttle: ThrottleSettings,
    /// The realms whose tokens are good for one use.
    pub once: Vec<Box<str>>,
}

/// The one mind behind every door: the only maker of a [`Permit`].
pub struct Authority {
    store: Arc<dyn Store>,
    settings: Settings,
    decoy: Totp,
    throttle: Throttle,
    uses: Mutex<Vec<Use>>,
}

impl Authority {
    /// Makes an authority over a store, with the counts that the store has saved. The decoy, a random
    /// seed, is checked for unknown principals.
    pub fn new(store: Arc<dyn Store>, settings: Settings, decoy: &Seed, counts: &Counts) -> Self {
        let throttle = Throttle::new(settings.throttle, counts.key);
        throttle.restore(&counts.records);
        Self {
            decoy: Totp::new(decoy, settings.parameters),
            store,
            settings,
            throttle,
            uses: Mutex::default(),
        }
    }

    /// Returns the store, for what a permit allows.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Decides whether an attempt passes under a policy at the time `now`.
    ///
    /// Never permits on failure: a store that cannot say is [`Denial::Unavailable`]. With the
    /// identity in the cache it neither waits nor allocates, except where tokens are good for one use.
    pub async fn decide(&self, attempt: &Attempt<'_>, policy: &Policy, now: UnixTime) -> Decision {
        if *policy == Policy::Anyone {
            return Decision::Permit(Permit::anonymous());
        }
        let credential = match &attempt.presented {
            Presented::Absent => return Decision::Denial(Denial::NoCredential),
            Presented::Malformed(flaw) => return Decision::Denial(Denial::Malformed(*flaw)),
            Presented::Credential(credential) => credential,
        };
        match self.prove(attempt, credential, now).await {
            Err(denial) => Decision::Denial(denial),
            Ok(_) if !policy.admits(credential.principal(), &self.settings.realms) => {
                Decision::Denial(Denial::NotAllowed)
            }
            Ok(permit) => Decision::Permit(permit),
        }
    }

    /// Saves what decisions have noted on the side: counts of failures, and uses. To be called about once
    /// a second, and at the end.
    ///
    /// # Errors
    /// [`StoreError`]; then the counts will be saved with the next.
    pub async fn save(&self) -> Result<(), StoreError> {
        let counts = self.throttle.changed(SAVED);
        let uses = std::mem::take(&mut *self.uses.lock());
        if counts.is_empty() && uses.is_empty() {
            return Ok(());
        }
        let saved = self.store.save(Notes {
            counts: counts.clone(),
            uses,
        });
        saved.await.inspect_err(|_| self.throttle.unsaved(&counts))
    }

    /// Counts whom a delay holds up at the time `now`, by where it is counted.
    pub fn delayed(&self, now: UnixTime) -> [(Scope, usize); 4] {
        self.throttle.delayed(now)
    }

    async fn prove(
        &self,
        attempt: &Attempt<'_>,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Result<Permit, Denial> {
        let identity = match self.store.recall(credential.principal()) {
            Recall::Known(identity) => Some(identity),
            Recall::Unknown => None,
            Recall::Nothing => match self.store.identity(credential.principal()).await {
                Ok(identity) => identity,
                Err(error) => return Err(Denial::Unavailable(error)),
            },
        };
        let subject = Subject {
            who: credential.principal(),
            is_known: identity.is_some(),
            pardoned: identity
                .as_ref()
                .map_or(UnixTime::from_secs(0), |identity| identity.pardoned),
            source: attempt.source,
        };
        let checked = self.check(identity.as_deref(), credential, now);
        // Nothing of the token's being right shows before this.
        let verdict = self.throttle.settle(subject, checked.is_ok(), now);
        let delay = match verdict {
            Verdict::Delayed { left } => return Err(Denial::Throttled { retry_after: left }),
            Verdict::Counted { delay } => delay,
            Verdict::Pass { .. } => None,
        };
        let refused = |refusal| Denial::Refused { refusal, delay };
        let matched = checked.map_err(refused)?;
        let identity = identity.ok_or(refused(Refusal::Unknown))?;
        let realm = credential.principal().realm();
        if self.settings.once.iter().any(|once| **once == *realm) {
            let window = self.settings.window;
            match self.store.spend(identity.id, matched.step, window).await {
                Ok(true) => {}
                Ok(false) => return Err(refused(Refusal::Replayed)),
                Err(error) => return Err(Denial::Unavailable(error)),
            }
        }
        if verdict == (Verdict::Pass { is_news: true }) {
            self.throttle.proved(subject, now);
        }
        self.note(&identity, matched, now);
        Ok(Permit::proven(identity, matched.step))
    }

    /// Checks the token. Every way to a refusal computes every step of the window twice, with the present
    /// seed and the one before, and with the decoy where there is none or it may not count, so that the
    /// time it takes does not say which it was.
    fn check(
        &self,
        identity: Option<&Identity>,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Result<Match, Refusal> {
        let checkable = match identity {
            None => Err(Refusal::Unknown),
            Some(identity) => match &identity.totp {
                None => Err(Refusal::BrokenSeed),
                Some(_) if identity.state == State::Disabled => Err(Refusal::Disabled),
                Some(_) if identity.terms.not_before.is_some_and(|from| now < from) => {
                    Err(Refusal::NotYetValid)
                }
                Some(_) if identity.terms.expires.is_some_and(|until| now >= until) => {
                    Err(Refusal::Expired)
                }
                Some(totp) => Ok((totp, identity.previous(now))),
            },
        };
        let (present, previous) = match checkable {
            Ok((present, previous)) => (Some(present), previous),
            Err(_) => (None, None),
        };
        for (totp, is_of_previous) in [(present, false), (previous, true)] {
            let checked = totp.unwrap_or(&self.decoy);
            let step = checked.check(credential.token().expose(), now, self.settings.window);
            let step = std::hint::black_box(step);
            if let (Some(totp), Some(step)) = (totp, step) {
                return Ok(Match {
                    step,
                    current: totp.step(now),
                    is_of_previous,
                });
            }
        }
        Err(checkable.err().unwrap_or(Refusal::WrongToken))
    }

    fn note(&self, identity: &Identity, matched: Match, now: UnixTime) {
        let of = Use {
            id: identity.id,
            used: now,
            drift: matched.step.0.cast_signed() - matched.current.0.cast_signed(),
            is_of_previous: matched.is_of_previous,
        };
        if identity.usage.note(&of) {
            self.uses.lock().push(of);
        }
    }
}

/// A token that was right.
#[derive(Clone, Copy)]
struct Match {
    step: Step,
    /// The step that it came in.
    current: Step,
    /// Whether it was of the seed before the present one.
    is_of_previous: bool,
}

#[cfg(test)]
mod tests;
