use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::credential::{Credential, Presented};
use super::decision::{Attempt, Decision, Denial, Permit, Proof, Refusal};
use super::identity::{Identity, SeedSlot, Seeds, State};
use super::policy::Policy;
use super::principal::PrincipalRef;
use super::realm::{Capability, Realms};
use super::seed::Seed;
use super::store::{Counts, Notes, Recall, Store, StoreError};
use super::throttle::{Scope, Source, Subject, Throttle, ThrottleSettings, Throttled, Verdict};
use super::time::UnixTime;
use super::totp::{Algorithm, Parameters, Step, Totp};
use super::usage::Use;

/// The most counts of each scope that are saved at a time.
const SAVED: usize = 1000;

/// How many steps beyond the window a token may be late or early without being a guess.
pub(super) const NEAR: u8 = 3;

/// How often an identity is read that is changed each time before its seeds are looked at.
const READINGS: u8 = 3;

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
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: Settings,
    /// One for each algorithm, in the order of [`Algorithm::ALL`].
    decoys: [Totp; Algorithm::ALL.len()],
    pub(super) throttle: Throttle,
    /// The seeds of nobody, which are looked up as those of an identity are.
    nobody: SeedSlot,
    uses: Mutex<Vec<Use>>,
    /// The stamp of the newest counts that were read from the store.
    seen: AtomicI64,
    /// The second of the last search for a clock that is off.
    pub(super) searched: AtomicU64,
}

impl Authority {
    /// Makes an authority over a store, with the counts that the store has saved. The decoy, a random
    /// seed, is checked for unknown principals.
    pub fn new(store: Arc<dyn Store>, settings: Settings, decoy: &Seed, counts: &Counts) -> Self {
        let throttle = Throttle::new(settings.throttle, counts.key);
        throttle.merge(&counts.records);
        Self {
            decoys: Algorithm::ALL
                .map(|algorithm| Totp::new(decoy, settings.parameters.with_algorithm(algorithm))),
            store,
            settings,
            throttle,
            nobody: Seeds::default().into(),
            uses: Mutex::default(),
            seen: AtomicI64::new(counts.stamp),
            searched: AtomicU64::default(),
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

    /// Saves what decisions have recorded on the side, counts of failures and uses, and takes over the counts
    /// of other processes. To be called about once a second, and at the end.
    ///
    /// # Errors
    /// [`StoreError`]; then the counts will be saved with the next.
    pub async fn save(&self) -> Result<(), StoreError> {
        let counts = self.throttle.changed(SAVED);
        let uses = std::mem::take(&mut *self.uses.lock());
        if !counts.is_empty() || !uses.is_empty() {
            let saved = self.store.save(Notes {
                counts: counts.clone(),
                uses,
            });
            saved
                .await
                .inspect_err(|_| self.throttle.unsaved(&counts))?;
        }
        let news = self.store.counts(self.seen.load(Ordering::Relaxed)).await?;
        self.throttle.merge(&news.records);
        self.seen.store(news.stamp, Ordering::Relaxed);
        Ok(())
    }

    /// Says whether the realm of whoever has a permit gives a capability.
    pub fn is_capable(&self, permit: &Permit, capability: Capability) -> bool {
        let policy = Policy::Capable(capability);
        let who = permit.principal();
        who.is_some_and(|who| policy.admits(who, &self.settings.realms))
    }

    /// Says whether a token of a realm is good for one use.
    pub(super) fn is_once(&self, realm: &str) -> bool {
        self.settings.once.iter().any(|once| **once == *realm)
    }

    /// Counts whom a delay holds up at the time `now`, by where it is counted.
    pub fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5] {
        self.throttle.delayed(now)
    }

    async fn prove(
        &self,
        attempt: &Attempt<'_>,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Result<Permit, Denial> {
        let who = credential.principal();
        let recalled = match self.store.recall(who) {
            Recall::Known(identity) => self.record(Some(identity)),
            Recall::Unknown => self.record(None),
            Recall::Nothing => None,
        };
        let record = match recalled {
            Some(record) => record,
            None => {
                // Whoever has to wait reads nothing: what is remembered by now must not show.
                if let Some(left) = self.throttle.source_left(who, attempt.source, now) {
                    rest(self.checks(&Record::default(), credential, now));
                    return Err(Denial::Throttled {
                        retry_after: left,
                        whom: Throttled::Source,
                    });
                }
                self.find(who).await.map_err(Denial::Unavailable)?
            }
        };
        let subject = record.subject(who, attempt.source);
        let (checked, verdict) = self.settle(subject, &record, credential, now);
        let delay = match verdict {
            Verdict::Delayed { left, whom } => {
                return Err(Denial::Throttled {
                    retry_after: left,
                    whom,
                });
            }
            Verdict::Counted { delay, .. } => delay,
            Verdict::Pass { .. } => None,
        };
        let refused = |refusal| Denial::Refused { refusal, delay };
        let matched = checked.map_err(refused)?;
        let identity = record.identity.ok_or(refused(Refusal::Unknown))?;
        if self.is_once(who.realm()) {
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
        let proof = Proof::Token {
            step: matched.step,
            offset: matched.offset(),
        };
        Ok(Permit::proven(identity, proof))
    }

    /// Asks the store for what there is of a principal.
    pub(super) async fn find(&self, who: PrincipalRef<'_>) -> Result<Record, StoreError> {
        for _ in 0..READINGS {
            if let Some(record) = self.record(self.store.identity(who).await?) {
                return Ok(record);
            }
        }
        Err(StoreError::Timeout)
    }

    /// Takes the seeds of an identity along; none if they were forgotten, since it has been changed.
    pub(super) fn record(&self, identity: Option<Arc<Identity>>) -> Option<Record> {
        let slot = identity.as_ref().map_or(&self.nobody, |it| &it.seeds);
        let seeds = slot.load()?;
        Some(Record { identity, seeds })
    }

    /// Checks the token and says what becomes of the attempt.
    ///
    /// Every way to a refusal asks memory twice and computes every step of the window and near it twice, so
    /// that the time it takes does not say which it was. During a delay it is every step of the window, for a
    /// right token as well: otherwise the time would give the verdict that the answer withholds.
    ///
    /// A token of a step near the window is refused and is no guess: whoever sends it knows the seed.
    fn settle(
        &self,
        subject: Subject<'_>,
        record: &Record,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> (Result<Match, Refusal>, Verdict) {
        let standing = standing(record, now);
        let mut checks = self.checks(record, credential, now);
        let found = if standing.is_ok() {
            checks.find_map(std::hint::black_box)
        } else {
            None
        };
        let mut verdict = self.throttle.settle(subject, found.is_some(), now);
        let mut refusal = standing.err().unwrap_or(Refusal::WrongToken);
        let mut is_right = found.is_some();
        if !matches!(verdict, Verdict::Pass { .. }) {
            is_right |= rest(checks);
            if record.identity.is_some() {
                self.store.recall_unknown(subject.who);
            }
        }
        if let Verdict::Counted { delay, undo } = &mut verdict {
            let near = self.near(record, credential, now);
            let near = near.filter(|_| standing.is_ok());
            self.throttle.take_back(subject, *undo, near.is_some(), now);
            if let Some(steps) = near {
                refusal = Refusal::OutsideWindow { steps };
                *delay = None;
            }
        }
        // A client whose identity has ended is no attack on it. A token is known to be wrong if there is a seed.
        let is_guess = !is_right && record.seeds.present.is_some();
        if refusal.is_of_terms() && !is_guess {
            verdict.take_back_attack();
        }
        (found.ok_or(refusal), verdict)
    }

    /// Returns how many steps outside the window a token is right, less than 0 for late, if it is near.
    fn near(&self, record: &Record, credential: &Credential<'_>, now: UnixTime) -> Option<i64> {
        let window = self.settings.window;
        let distances = window.saturating_add(1)..=window.saturating_add(NEAR);
        let checks = self.checks_within(distances, record, credential, now);
        checks.fold(None, |found, it| it.map(Match::offset).or(found))
    }

    /// Computes, one after the other, the steps of the present seed and of the one before, and the decoy's
    /// in the place of a seed that is not there.
    fn checks<'a>(
        &'a self,
        record: &'a Record,
        credential: &Credential<'a>,
        now: UnixTime,
    ) -> impl Iterator<Item = Option<Match>> + use<'a> {
        self.checks_within(0..=self.settings.window, record, credential, now)
    }

    /// The same of the steps that are so far from the present one.
    pub(super) fn checks_within<'a>(
        &'a self,
        distances: RangeInclusive<u8>,
        record: &'a Record,
        credential: &Credential<'a>,
        now: UnixTime,
    ) -> impl Iterator<Item = Option<Match>> + use<'a> {
        let parameters = record
            .identity
            .as_ref()
            .map_or(self.settings.parameters, |it| it.parameters);
        let [sha1, sha256, sha512] = &self.decoys;
        let decoy = match parameters.algorithm() {
            Algorithm::Sha1 => sha1,
            Algorithm::Sha256 => sha256,
            Algorithm::Sha512 => sha512,
        };
        let present = record.seeds.present.as_ref();
        let previous = record.seeds.previous(now);
        let token = credential.token();
        let seeds = [(present, false), (previous, true)];
        seeds.into_iter().flat_map(move |(seed, is_of_previous)| {
            let totp = seed.unwrap_or(decoy);
            totp.steps(now, distances.clone()).map(move |step| {
                let is_right = std::hint::black_box(totp.is_of(token, step));
                (is_right && seed.is_some()).then(|| Match {
                    step,
                    current: totp.step(now),
                    is_of_previous,
                })
            })
        })
    }

    fn note(&self, identity: &Identity, matched: Match, now: UnixTime) {
        let of = Use {
            id: identity.id,
            used: now,
            drift: matched.offset(),
            is_of_previous: matched.is_of_previous,
        };
        if identity.usage.note(&of) {
            self.uses.lock().push(of);
        }
    }
}

/// What there is of a principal, with the seeds as they were when it was looked at. By default it is nobody.
#[derive(Default)]
pub(super) struct Record {
    identity: Option<Arc<Identity>>,
    seeds: Arc<Seeds>,
}

impl Record {
    /// Returns whose failures count at a source.
    pub(super) fn subject<'a>(&self, who: PrincipalRef<'a>, source: Source<'a>) -> Subject<'a> {
        let pardoned = self.identity.as_ref().map(|it| it.pardoned);
        Subject {
            who,
            is_known: pardoned.is_some(),
            pardoned: pardoned.unwrap_or(UnixTime::from_secs(0)),
            source,
        }
    }
}

/// Says whether an identity may authenticate at all.
pub(super) fn standing(record: &Record, now: UnixTime) -> Result<(), Refusal> {
    let identity = record.identity.as_ref().ok_or(Refusal::Unknown)?;
    let terms = identity.terms();
    // What may not authenticate has no seeds in memory.
    if identity.state == State::Disabled {
        Err(Refusal::Disabled)
    } else if terms.not_before.is_some_and(|from| now < from) {
        Err(Refusal::NotYetValid)
    } else if terms.expires.is_some_and(|until| now >= until) {
        Err(Refusal::Expired)
    } else if record.seeds.present.is_none() {
        Err(Refusal::BrokenSeed)
    } else {
        Ok(())
    }
}

/// Does what is left of the work, and says whether the token is right, whatever that is worth.
fn rest(mut checks: impl Iterator<Item = Option<Match>>) -> bool {
    let mut is_right = false;
    while checks.find_map(std::hint::black_box).is_some() {
        is_right = true;
    }
    is_right
}

/// A token that was right.
#[derive(Clone, Copy)]
pub(super) struct Match {
    step: Step,
    /// The step that it came in.
    current: Step,
    /// Whether it was of the seed before the present one.
    is_of_previous: bool,
}

impl Match {
    /// Returns how many steps the token's was after the present one; less than 0 if before.
    pub(super) fn offset(self) -> i64 {
        self.step.0.cast_signed() - self.current.0.cast_signed()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
