//! The number of decisions, by door, route, realm and outcome.
//!
//! Each route holds its own counters. A realm becomes a label once a request named an existing identity of it, and
//! only the first hundred realms do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::door::Door;
use crate::auth::{Attempt, Denial, DenialCause, Permit, PrincipalRef};
use crate::metrics::Named;

/// The outcomes: a permit, a request that passes although its policy denies it, the reasons of denials, and rejections before the credential is read.
const OUTCOMES: [&str; 18] = [
    "permitted",
    OBSERVED,
    "no_credential",
    "malformed_credential",
    "unknown_principal",
    "disabled",
    "not_yet_valid",
    "expired",
    "broken_seed",
    "wrong_token",
    "outside_window",
    "replayed",
    "throttled",
    "not_allowed",
    "store_unavailable",
    NO_ROUTE,
    REJECTED,
    REST,
];

/// The outcome of a request that its policy denies and that passes, because the route only observes.
pub(super) const OBSERVED: &str = "observed";
/// The outcome if no route matches.
pub const NO_ROUTE: &str = "no_route";
/// The outcome of a request that is ambiguous, over a limit, or from a front proxy that is not trusted.
pub const REJECTED: &str = "refused";

/// The maximum number of realms with labels of their own.
const REALMS: usize = 100;
/// The number for no realm.
const NONE: u8 = 0;
/// The number for all further realms.
const OTHER: u8 = 1;
const FIRST: u8 = 2;

/// The count of realm numbers.
const NUMBERS: usize = REALMS + FIRST as usize;

/// The label for no route or no realm.
const ABSENT: &str = "-";
/// The label for all further realms, and for unknown outcomes.
const REST: &str = "other";

type Outcomes = [AtomicU64; OUTCOMES.len()];

/// The counters of one route.
pub struct Tally {
    route: Option<Box<str>>,
    realms: Arc<Realms>,
    counts: Counts,
    /// The denials of requests that passed, by reason; allocated when first used.
    observed: OnceLock<Counts>,
}

/// Counters by door and number of the realm, each allocated when first used.
struct Counts(Box<[OnceLock<Box<Outcomes>>]>);

impl Tally {
    fn new(route: Option<&str>, realms: Arc<Realms>) -> Self {
        Self {
            route: route.map(Into::into),
            realms,
            counts: Counts::default(),
            observed: OnceLock::new(),
        }
    }

    /// Returns the name of the route, if there is one.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// Counts a permit.
    pub fn permitted(&self, door: Door, permit: &Permit) {
        let realm = permit.principal().map(PrincipalRef::realm);
        let realm = realm.map_or(NONE, |realm| self.realms.number(realm));
        self.counts.count(door, realm, 0);
    }

    /// Counts a denial, by its reason.
    pub(super) fn denied(&self, door: Door, attempt: &Attempt<'_>, denial: &Denial) {
        let realm = self.realm_of(attempt, denial);
        self.counts.count(door, realm, outcome(denial.reason()));
    }

    /// Counts a request that passes although its policy denies it.
    pub(super) fn observed(&self, door: Door, attempt: &Attempt<'_>, denial: &Denial) {
        let realm = self.realm_of(attempt, denial);
        self.counts.count(door, realm, outcome(OBSERVED));
        let observed = self.observed.get_or_init(Counts::default);
        observed.count(door, realm, outcome(denial.reason()));
    }

    /// Returns the number of the realm under which a denial is counted.
    fn realm_of(&self, attempt: &Attempt<'_>, denial: &Denial) -> u8 {
        let realm = attempt.principal().map(PrincipalRef::realm);
        realm.map_or(NONE, |realm| match denial {
            // An identity of the realm exists.
            Denial::NotAllowed => self.realms.number(realm),
            Denial::InvalidCredential { cause, .. } if *cause != DenialCause::Unknown => {
                self.realms.number(realm)
            }
            _ => self.realms.find(realm).unwrap_or(NONE),
        })
    }

    /// Counts a request that was rejected before the credential was read.
    pub fn rejected(&self, door: Door, reason: &'static str) {
        self.counts.count(door, NONE, outcome(reason));
    }
}

impl Default for Counts {
    fn default() -> Self {
        let places = 0..Door::ALL.len() * NUMBERS;
        Self(places.map(|_| OnceLock::new()).collect())
    }
}

impl Counts {
    fn count(&self, door: Door, realm: u8, outcome: usize) {
        let place = door as usize * NUMBERS + usize::from(realm);
        if let Some(place) = self.0.get(place)
            && let Some(count) = place.get_or_init(Box::default).get(outcome)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Visits all counters above zero, with door, number of the realm and outcome.
    fn each(
        &self,
        mut visit: impl FnMut(Door, usize, &'static str, u64) -> fmt::Result,
    ) -> fmt::Result {
        for (door, places) in Door::ALL.into_iter().zip(self.0.chunks(NUMBERS)) {
            for (realm, counts) in places.iter().enumerate() {
                let counts = counts.get().map(|counts| counts.iter());
                for (outcome, count) in OUTCOMES.iter().zip(counts.into_iter().flatten()) {
                    match count.load(Ordering::Relaxed) {
                        0 => {}
                        count => visit(door, realm, outcome, count)?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tally").field(&self.route).finish()
    }
}

fn outcome(reason: &str) -> usize {
    let found = OUTCOMES.iter().position(|outcome| *outcome == reason);
    found.unwrap_or(OUTCOMES.len() - 1)
}

/// The realms with labels, sorted, and their numbers. Reading takes no lock, because every permit reads. Searching
/// so few is faster than hashing a name.
#[derive(Debug, Default)]
struct Realms(ArcSwap<Vec<(Box<str>, u8)>>);

impl Realms {
    fn find(&self, realm: &str) -> Option<u8> {
        let realms = self.0.load();
        let at = place_of(&realms, realm).ok()?;
        Some(realms.get(at)?.1)
    }

    /// Returns the number of a realm. Assigns one if there is one left.
    fn number(&self, realm: &str) -> u8 {
        let realms = self.0.load();
        let found = place_of(&realms, realm).ok();
        if let Some((_, number)) = found.and_then(|at| realms.get(at)) {
            return *number;
        }
        if [ABSENT, REST].contains(&realm) || realms.len() >= REALMS {
            return OTHER;
        }
        drop(realms);
        self.0.rcu(|realms| {
            let mut realms = Vec::clone(realms);
            if let Err(at) = place_of(&realms, realm)
                && realms.len() < REALMS
            {
                let next = u8::try_from(realms.len()).map_or(OTHER, |taken| FIRST + taken);
                realms.insert(at, (realm.into(), next));
            }
            realms
        });
        self.find(realm).unwrap_or(OTHER)
    }

    /// Returns the label of each number.
    fn labels(&self) -> Vec<Box<str>> {
        let mut labels = vec![Box::from(ABSENT); NUMBERS];
        set(&mut labels, REST, OTHER);
        for (name, number) in self.0.load().iter() {
            set(&mut labels, name, *number);
        }
        labels
    }
}

fn place_of(realms: &[(Box<str>, u8)], realm: &str) -> Result<usize, usize> {
    realms.binary_search_by(|(known, _)| (**known).cmp(realm))
}

fn set(labels: &mut [Box<str>], name: &str, number: u8) {
    if let Some(label) = labels.get_mut(usize::from(number)) {
        *label = name.into();
    }
}

/// The counters of all routes.
#[derive(Debug)]
pub(super) struct Decisions {
    realms: Arc<Realms>,
    routes: Named<Tally>,
    /// The counters of requests without a route.
    rest: Arc<Tally>,
}

impl Decisions {
    pub(super) fn new() -> Self {
        let realms = Arc::default();
        Self {
            rest: Arc::new(Tally::new(None, Arc::clone(&realms))),
            routes: Named::default(),
            realms,
        }
    }

    pub(super) fn of(&self, route: &str) -> Arc<Tally> {
        if route == ABSENT {
            return Arc::clone(&self.rest);
        }
        self.routes
            .of(route, || Tally::new(Some(route), Arc::clone(&self.realms)))
    }

    pub(super) fn rest(&self) -> &Arc<Tally> {
        &self.rest
    }

    /// Returns the number of permits and that of denials.
    pub(super) fn totals(&self) -> (u64, u64) {
        let (mut permitted, mut denied) = (0, 0);
        let routes = self.routes.all();
        let routes = routes.iter().map(|(_, tally)| &**tally);
        for tally in routes.chain([&*self.rest]) {
            let counted = tally.counts.each(|_, _, outcome, count| {
                match outcome {
                    "permitted" | OBSERVED => permitted += count,
                    _ => denied += count,
                }
                Ok(())
            });
            debug_assert!(counted.is_ok());
        }
        (permitted, denied)
    }
}

impl Decisions {
    /// Writes counters of all routes. The last label, `last`, is the outcome.
    fn encode_counts(
        &self,
        mut family: MetricEncoder<'_>,
        last: &str,
        counts: impl Fn(&Tally) -> Option<&Counts>,
    ) -> fmt::Result {
        let labels = self.realms.labels();
        let routes = self.routes.all();
        let routes = routes.iter().map(|(_, tally)| &**tally);
        for tally in routes.chain([&*self.rest]) {
            let Some(counts) = counts(tally) else {
                continue;
            };
            let route = tally.route().unwrap_or(ABSENT);
            counts.each(|door, realm, outcome, count| {
                let labels = [
                    ("door", door.as_str()),
                    ("route", route),
                    ("realm", labels.get(realm).map_or(ABSENT, |label| label)),
                    (last, outcome),
                ];
                let mut counter = family.encode_family(&labels)?;
                counter.encode_counter::<NoLabelSet, _, f64>(&count, None)
            })?;
        }
        Ok(())
    }
}

impl Collector for Decisions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_counts(
            encoder.encode_descriptor(
                "decisions",
                "Decisions, by door, route, realm, and outcome or reason of a denial",
                None,
                MetricType::Counter,
            )?,
            "outcome",
            |tally| Some(&tally.counts),
        )?;
        self.encode_counts(
            encoder.encode_descriptor(
                "observed_denials",
                "Requests that passed because their route only observes, by door, route, realm and reason of the denial",
                None,
                MetricType::Counter,
            )?,
            "reason",
            |tally| tally.observed.get(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_beyond_the_first_hundred_are_one() {
        let realms = Realms::default();
        let number = |n: usize| realms.number(&format!("realm-{n}"));
        let numbers: Vec<u8> = (0..=REALMS).map(number).collect();
        assert_eq!(numbers[REALMS - 1], FIRST + 99);
        assert_eq!(numbers[REALMS], OTHER);
        assert_eq!(number(REALMS - 1), FIRST + 99);
        assert_eq!(realms.find("realm-100"), None);
        let labels = realms.labels();
        assert_eq!(&*labels[usize::from(FIRST) + 99], "realm-99");
        assert_eq!((&*labels[0], &*labels[1]), ("-", "other"));
    }

    #[test]
    fn every_reason_of_a_rejection_is_an_outcome() {
        let delay = None;
        for cause in [
            DenialCause::Unknown,
            DenialCause::Disabled,
            DenialCause::NotYetValid,
            DenialCause::Expired,
            DenialCause::BrokenSeed,
            DenialCause::WrongToken,
            DenialCause::AlreadyUsed,
        ] {
            let reason = Denial::InvalidCredential { cause, delay }.reason();
            assert!(OUTCOMES.contains(&reason), "{reason}");
        }
        for denial in [Denial::NoCredential, Denial::NotAllowed] {
            assert!(OUTCOMES.contains(&denial.reason()));
        }
        assert_eq!(OUTCOMES[outcome("new reason")], "other");
    }

    #[test]
    fn invented_realm_is_no_label() {
        let tally = Tally::new(None, Arc::default());
        let credential = crate::auth::Credential::new("name", "invented", "123456", 128).unwrap();
        let attempt = Attempt {
            presented: crate::auth::Presented::Credential(credential),
            source: crate::auth::Source::default(),
        };
        let delay = None;
        let invalid = |cause| Denial::InvalidCredential { cause, delay };
        tally.denied(Door::Proxy, &attempt, &invalid(DenialCause::Unknown));
        assert!(tally.realms.find("invented").is_none());
        tally.denied(Door::Proxy, &attempt, &invalid(DenialCause::WrongToken));
        assert_eq!(tally.realms.find("invented"), Some(FIRST));
    }
}
