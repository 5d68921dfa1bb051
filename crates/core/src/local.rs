//! Authentication by tokens, against the identities of a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::authority::Authenticator;
use super::checked::{Found, NotFound, Passed, in_order, invalid};
use super::credential::Credential;
use super::decision::{Authenticated, Denial, DenialCause, Proof};
use super::id::IdentityId;
use super::identity::Identity;
use super::lately::Lately;
use super::matching::{Match, rest};
use super::principal::{Principal, PrincipalRef};
use super::record::Record;
use super::seed::Seed;
use super::seeds::{SeedSlot, Seeds};
use super::session::{SessionId, SessionKind, SessionSecret};
use super::store::{Counters, Counts, Identities, Recall, Sessions, StoreError};
use super::sweeps::Sweeps;
use super::throttle::{
    Claimed, Scope, Source, Subject, Throttle, ThrottleSettings, Throttled, Verdict,
};
use super::time::UnixTime;
use super::totp::{Algorithm, Parameters, Totp};
use super::usage::Use;

/// The number of steps beyond the window within which a wrong token does not count as a guess.
pub(super) const NEAR: u8 = 3;

/// How often an identity is read again if a concurrent change drops its seeds each time.
const READINGS: u8 = 3;

/// The maximum number of throttled identities in each half of those that are kept.
const THROTTLED: usize = 100;

/// How a [`LocalAuthenticator`] checks tokens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number of steps accepted on each side of the current one.
    pub window: u8,
    /// The parameters most identities have. Checking an unknown principal does the same work.
    pub parameters: Parameters,
    /// How failures are throttled.
    pub throttle: ThrottleSettings,
    /// The realms with one-time tokens.
    pub one_time_realms: Vec<Box<str>>,
}

/// Authenticates the identities of a store by their tokens.
pub struct LocalAuthenticator {
    pub(super) identities: Arc<dyn Identities>,
    pub(super) counters: Arc<dyn Counters>,
    /// None until it is given them.
    pub(super) sessions: Option<Arc<dyn Sessions>>,
    /// The sessions that were found last. A delayed source may go on with one of them. All other
    /// secrets of such a source are rejected without reading the store, so that guesses do not load it.
    pub(super) found_sessions: Lately<SessionId, ()>,
    /// The identities whose attempts were delayed last.
    pub(super) throttled: Lately<IdentityId, Principal>,
    pub(super) settings: Settings,
    /// One per algorithm, in the order of [`Algorithm::ALL`].
    pub(super) decoys: [Totp; Algorithm::ALL.len()],
    pub(super) throttle: Throttle,
    /// The seeds of an unknown principal, loaded like those of an identity.
    nobody: SeedSlot,
    pub(super) uses: Mutex<Vec<Use>>,
    /// The stamp of the newest failure counts read from the store.
    pub(super) seen: AtomicI64,
    pub(super) sweeps: Sweeps,
    /// The second of the last search for a clock offset.
    pub(super) searched: AtomicU64,
}

impl LocalAuthenticator {
    /// Makes an authenticator over the identities and counters of a store, with the saved failure
    /// counts. Tokens of unknown principals are compared with those of `decoy`, a random seed.
    pub fn new(
        identities: Arc<dyn Identities>,
        counters: Arc<dyn Counters>,
        settings: Settings,
        decoy: &Seed,
        counts: &Counts,
    ) -> Self {
        let throttle = Throttle::new(settings.throttle, counts.key);
        let throttle = throttle.with_claims(counters.has_claims());
        throttle.merge(&counts.records);
        Self {
            decoys: Algorithm::ALL
                .map(|algorithm| Totp::new(decoy, settings.parameters.with_algorithm(algorithm))),
            identities,
            counters,
            sessions: None,
            found_sessions: Lately::new(1024),
            throttled: Lately::new(THROTTLED),
            settings,
            throttle,
            nobody: Seeds::default().into(),
            uses: Mutex::default(),
            seen: AtomicI64::new(counts.stamp),
            sweeps: Sweeps::default(),
            searched: AtomicU64::default(),
        }
    }

    /// Returns whether the tokens of a realm are one-time.
    pub(super) fn is_one_time(&self, realm: &str) -> bool {
        let mut realms = self.settings.one_time_realms.iter();
        realms.any(|it| **it == *realm)
    }

    /// Returns the record of a principal from memory, or `None` if the store must be read.
    pub(super) fn recall(&self, who: PrincipalRef<'_>) -> Option<Record> {
        match self.identities.recall(who) {
            Recall::Known(identity) => self.record(Some(identity)),
            Recall::Unknown => self.record(None),
            Recall::Nothing => None,
        }
    }

    /// Reads the record of a principal from the store.
    pub(super) async fn find(&self, who: PrincipalRef<'_>) -> Result<Record, StoreError> {
        for _ in 0..READINGS {
            if let Some(record) = self.record(self.identities.identity(who).await?) {
                return Ok(record);
            }
        }
        Err(StoreError::Timeout)
    }

    /// Loads the seeds of an identity. Returns `None` if they were dropped because the identity has
    /// changed.
    fn record(&self, identity: Option<Arc<Identity>>) -> Option<Record> {
        let slot = identity.as_ref().map_or(&self.nobody, |it| &it.seeds);
        let seeds = slot.load()?;
        Some(Record { identity, seeds })
    }

    /// Checks a credential against a record, and counts the outcome.
    pub(super) fn check(
        &self,
        record: &Record,
        credential: &Credential<'_>,
        (source, claimed): (Source<'_>, Claimed),
        now: UnixTime,
    ) -> Result<Found, NotFound> {
        let time = self.counters.failure_time(now);
        let times = (now, time);
        let subject = record.subject(credential.principal(), source, times);
        let (checked, verdict) = self.settle((subject, claimed), record, credential, times);
        if let Verdict::Unclaimed(claim) = verdict {
            return Err(NotFound::Unclaimed(claim));
        }
        if verdict.is_delay() {
            self.record_delay(record.identity.as_deref());
        }
        Ok(Found {
            matched: in_order(verdict, checked)?,
            is_news: verdict == (Verdict::Pass { is_news: true }),
        })
    }

    /// Records a success.
    fn accept(
        &self,
        passed: Passed,
        who: PrincipalRef<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Authenticated {
        let Passed { identity, found } = passed;
        let Found { matched, is_news } = found;
        if is_news {
            let time = self.counters.failure_time(now);
            self.throttle.trust(who, source, time);
        }
        let used = Use {
            id: identity.id,
            used: now,
            drift: matched.offset(),
            is_of_previous: matched.is_of_previous,
        };
        if identity.record(&used) {
            self.uses.lock().push(used);
        }
        let proof = Proof::Token {
            step: matched.step,
            offset: matched.offset(),
            until: matched.accepted_until(&identity, self.settings.window),
        };
        let mut proven = Authenticated::identity(identity, proof);
        proven.is_of_previous = matched.is_of_previous;
        proven
    }

    /// Checks the token, and counts the outcome.
    ///
    /// Every rejection looks into memory twice and computes each step of the window and near it
    /// twice, so that its duration does not reveal the cause. During a delay every step of the
    /// window is computed, for a right token too: otherwise the duration would reveal the outcome
    /// that the response withholds.
    ///
    /// A right token is remembered once it has passed, and then costs less while its step is in the
    /// window. The lookup costs the same for all others.
    ///
    /// A token of a step near the window is rejected but does not count as a guess: the client has
    /// the seed.
    ///
    /// Tokens are checked at `now`, and failures counted at `time`.
    fn settle(
        &self,
        (subject, claimed): (Subject<'_>, Claimed),
        record: &Record,
        credential: &Credential<'_>,
        (now, time): (UnixTime, UnixTime),
    ) -> (Result<Match, DenialCause>, Verdict) {
        let standing = record.standing(now);
        let mut checks = self.checks(record, credential, now);
        let repeated = self.repeated(record, credential, now);
        let found = if standing.is_ok() {
            repeated.or_else(|| checks.find_map(std::hint::black_box))
        } else {
            None
        };
        let mut verdict = self
            .throttle
            .settle(subject, found.is_some(), claimed, time);
        let mut cause = standing.err().unwrap_or(DenialCause::WrongToken);
        let mut is_right = found.is_some();
        if matches!(verdict, Verdict::Pass { .. }) {
            if let Some(found) = found
                && repeated.is_none()
            {
                record.remember(credential.token(), found);
            }
        } else {
            is_right |= rest(checks);
            if record.identity.is_some() {
                self.identities.recall_unknown(subject.who);
            }
        }
        if let Verdict::Counted { delay, undo } = &mut verdict {
            let near = self.near(record, credential, now);
            let near = near.filter(|_| standing.is_ok());
            self.throttle
                .take_back(subject, *undo, near.is_some(), time);
            if let Some(steps) = near {
                cause = DenialCause::OutsideWindow { steps };
                *delay = None;
            }
        }
        // A client whose identity may not authenticate is not attacking it, unless its token is
        // wrong. Without a seed, no token is known to be wrong.
        let is_guess = !is_right && record.seeds.present().is_some();
        if cause.is_of_terms() && !is_guess {
            verdict.take_back_attack();
        }
        (found.ok_or(cause), verdict)
    }
}

#[async_trait]
impl Authenticator for LocalAuthenticator {
    fn authenticate_now(
        &self,
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Option<Result<Authenticated, Denial>> {
        let who = credential.principal();
        if credential.is_one_time() || self.is_one_time(who.realm()) {
            return None;
        }
        let record = self.recall(who)?;
        let passed = match self.check(&record, credential, (source, Claimed::No), now) {
            Ok(found) => Passed::of(record, found),
            Err(NotFound::Denied(denial)) => Err(denial),
            // `authenticate` asks the store.
            Err(NotFound::Unclaimed(_)) => return None,
        };
        Some(passed.map(|passed| self.accept(passed, who, source, now)))
    }

    async fn authenticate(
        &self,
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Authenticated, Denial> {
        let who = credential.principal();
        let is_one_time = credential.is_one_time() || self.is_one_time(who.realm());
        // For other attempts, `authenticate_now` has not found it in memory.
        let time = self.counters.failure_time(now);
        let may_be_recalled = is_one_time || self.throttle.may_need_claim(who, time);
        let recalled = may_be_recalled.then(|| self.recall(who)).flatten();
        let was_recalled = recalled.is_some();
        let record = match recalled {
            Some(record) => record,
            None => {
                // An attempt of a delayed source never reads the store: its duration must not
                // reveal which principals are in memory.
                if let Some(left) = self.throttle.source_left(who, source, time) {
                    rest(self.checks(&Record::default(), credential, now));
                    return Err(Denial::Throttled {
                        retry_after: left,
                        whom: Throttled::Source,
                    });
                }
                self.find(who).await.map_err(Denial::Unavailable)?
            }
        };
        let found = self
            .check_claiming((&record, was_recalled), credential, source, now)
            .await?;
        let passed = Passed::of(record, found)?;
        if is_one_time {
            let (id, step) = (passed.identity.id, passed.found.matched.step);
            let used = self.counters.use_step(id, step, self.settings.window);
            if !used.await.map_err(Denial::Unavailable)? {
                return Err(invalid(DenialCause::AlreadyUsed));
            }
        }
        Ok(self.accept(passed, who, source, now))
    }

    async fn resume(
        &self,
        session: (&SessionSecret, SessionKind),
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Option<Authenticated>, Denial> {
        self.resume_session(session, source, now).await
    }

    async fn confirm(&self, proven: &Authenticated, now: UnixTime) -> Result<(), Denial> {
        self.confirm_identity(proven, now).await
    }

    fn clock_offset(&self, credential: &Credential<'_>, now: UnixTime) -> Option<i64> {
        self.find_clock_offset(credential, now)
    }

    fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5] {
        self.throttle.delayed(self.counters.failure_time(now))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.identities.ping().await
    }
}

#[cfg(test)]
mod claiming;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod tests;
