use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::saving::SAVED;
use crate::{
    Attempt, Authority, Capability, Change, Decision, Flaw, Foresight, IdentityId, NewIdentity,
    Permit, Policy, Presented, Principal, Realms, Rule, State, Step, Terms, Usage, UsageBatch,
    UsedSteps,
};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_015);

/// A store of fixed identities, or one that fails every read.
pub(super) struct Memory {
    identities: Vec<Arc<Identity>>,
    is_failing: bool,
    spent: Mutex<HashMap<i64, UsedSteps>>,
    readings: AtomicUsize,
}

impl Memory {
    pub(super) fn of(identities: Vec<Arc<Identity>>) -> Self {
        Self {
            identities,
            is_failing: false,
            spent: Mutex::default(),
            readings: AtomicUsize::default(),
        }
    }

    /// Returns the first identity.
    pub(super) fn alice(&self) -> Arc<Identity> {
        Arc::clone(&self.identities[0])
    }

    fn failing() -> Self {
        Self {
            is_failing: true,
            ..Self::of(vec![])
        }
    }
}

#[async_trait]
impl Identities for Memory {
    fn recall(&self, _: PrincipalRef<'_>) -> Recall {
        Recall::Nothing
    }

    fn recall_unknown(&self, _: PrincipalRef<'_>) {}

    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        if self.is_failing {
            return Err(StoreError::Timeout);
        }
        let mut identities = self.identities.iter();
        Ok(identities.find(|it| it.principal.as_ref() == who).cloned())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

#[async_trait]
impl Counters for Memory {
    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError> {
        Ok(self
            .spent
            .lock()
            .entry(id.0)
            .or_default()
            .use_step(step, window))
    }

    async fn counts(&self, _: i64) -> Result<Counts, StoreError> {
        unreachable!()
    }

    async fn save(&self, _: UsageBatch) -> Result<(), StoreError> {
        unreachable!()
    }
}

fn local(store: &Arc<Memory>, settings: Settings, decoy: &Seed) -> Arc<LocalAuthenticator> {
    let (identities, counters) = (Arc::clone(store) as _, Arc::clone(store) as _);
    let counts = Counts::default();
    let local = LocalAuthenticator::new(identities, counters, settings, decoy, &counts);
    Arc::new(local)
}

/// Makes an authority over a store.
pub(super) fn authority(store: &Arc<Memory>, settings: Settings, decoy: &Seed) -> Authority {
    Authority::new(local(store, settings, decoy), Realms::default())
}

pub(super) fn settings() -> Settings {
    Settings {
        window: 1,
        parameters: Parameters::default(),
        throttle: ThrottleSettings::default(),
        one_time_realms: vec![],
    }
}

pub(super) fn totp() -> Totp {
    let seed = Seed::from_bytes(b"12345678901234567890").unwrap();
    Totp::new(&seed, Parameters::default())
}

pub(super) fn alice(totp: Option<Totp>, state: State) -> Memory {
    Memory::of(vec![Arc::new(Identity {
        id: IdentityId(1),
        principal: Principal::new("alice", "ops", 128).unwrap(),
        is_partial: totp.is_none(),
        seeds: Seeds::new(totp, None).into(),
        parameters: Parameters::default(),
        state,
        rare: None,
        usage: Usage::default(),
        derived: Default::default(),
        created: NOW,
        updated: NOW,
        history: Default::default(),
    })])
}

async fn decide(stub: Memory, presented: Presented<'_>, policy: &Policy) -> Decision {
    let settings = settings();
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let authority = authority(&Arc::new(stub), settings, &decoy);
    let attempt = Attempt {
        presented,
        source: Source::default(),
    };
    authority.decide(&attempt, policy, NOW).await
}

fn present<'a>(name: &'a str, realm: &'a str, token: &'a str) -> Presented<'a> {
    Credential::new(name, realm, token, 128).into()
}

fn reason(decision: &Decision) -> &'static str {
    match decision {
        Decision::Permit(_) => "permit",
        Decision::Denial(denial) => denial.reason(),
    }
}

#[tokio::test]
async fn right_token_permits_as_its_principal() {
    let token = totp().token(NOW);
    let decision = decide(
        alice(Some(totp()), State::Enabled),
        present("alice", "ops", &token),
        &Policy::Authenticated,
    )
    .await;
    let Decision::Permit(permit) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(permit.principal().unwrap().name(), "alice");
    assert_eq!(permit.principal().unwrap().realm(), "ops");
    let proof = Proof::Token {
        // The token of the next step is accepted one step early, this one until one step late.
        until: UnixTime::from_secs((NOW.as_secs() / 30 + 2) * 30),
        step: Step(NOW.as_secs() / 30),
        offset: 0,
    };
    assert_eq!(permit.proof(), proof);
}

#[tokio::test]
async fn token_that_passes_again_has_the_same_proof_until_its_window_ends() {
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let store = Arc::new(alice(Some(totp()), State::Enabled));
    let authority = authority(&store, settings(), &decoy);
    let token = totp().token(NOW);
    let decide = async |token: &str, now| {
        let attempt = Attempt {
            presented: present("alice", "ops", token),
            source: Source::default(),
        };
        authority
            .decide(&attempt, &Policy::Authenticated, now)
            .await
    };
    let later =
        |periods: i64| UnixTime::from_secs(NOW.as_secs().saturating_add_signed(periods * 30));
    for periods in [0, 0, 1, 1, -1, -1, 0] {
        let Decision::Permit(permit) = decide(&token, later(periods)).await else {
            panic!("not permitted after {periods} periods")
        };
        let proof = Proof::Token {
            until: UnixTime::from_secs((NOW.as_secs() / 30 + 2) * 30),
            step: Step(NOW.as_secs() / 30),
            offset: -periods,
        };
        assert_eq!(permit.proof(), proof);
        for periods in [2, 3, -2] {
            let reason = reason(&decide(&token, later(periods)).await);
            assert_eq!(reason, "outside_window", "after {periods} periods");
        }
    }
    assert_eq!(reason(&decide(&token, later(5)).await), "wrong_token");
    assert_eq!(reason(&decide("000000", NOW).await), "wrong_token");
}

#[tokio::test]
async fn each_rejection_has_its_reason() {
    let token = totp().token(NOW);
    let cases = [
        (
            alice(Some(totp()), State::Enabled),
            "alice",
            "000000",
            "wrong_token",
        ),
        (
            alice(Some(totp()), State::Enabled),
            "bob",
            &*token,
            "unknown_principal",
        ),
        (
            alice(Some(totp()), State::Disabled),
            "alice",
            &*token,
            "disabled",
        ),
        (
            alice(Some(totp()), State::Disabled),
            "alice",
            "000000",
            "disabled",
        ),
        (alice(None, State::Enabled), "alice", &*token, "broken_seed"),
        (Memory::failing(), "alice", &*token, "store_unavailable"),
    ];
    for (stub, name, token, expected) in cases {
        let decision = decide(stub, present(name, "ops", token), &Policy::Authenticated).await;
        assert_eq!(reason(&decision), expected);
    }
}

#[tokio::test]
async fn token_of_the_decoy_is_rejected() {
    let decoy = Totp::new(&Seed::from_bytes(b"decoy").unwrap(), Parameters::default());
    let token = decoy.token(NOW);
    for (stub, name, expected) in [
        (
            alice(Some(totp()), State::Enabled),
            "bob",
            "unknown_principal",
        ),
        (alice(None, State::Enabled), "alice", "broken_seed"),
    ] {
        let decision = decide(stub, present(name, "ops", &token), &Policy::Authenticated).await;
        assert_eq!(reason(&decision), expected);
    }
}

#[tokio::test]
async fn broken_seed_counts_like_an_unknown_name_and_not_against_its_principal() {
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let (broken, whole) = (
        Arc::new(alice(None, State::Enabled)),
        Arc::new(alice(Some(totp()), State::Enabled)),
    );
    // Two processes on one database, one of which lacks the key.
    let [keyless, healthy] = [&broken, &whole].map(|it| local(it, settings(), &decoy));
    let (trusted, other) = ("192.0.2.1", "198.51.100.1");
    let decide = async |local: &Arc<LocalAuthenticator>, name, source: &str, token: &str| {
        let credential = Credential::new(name, "ops", token, 128).unwrap();
        let source = Source::of(source.parse().ok());
        local.authenticate(&credential, source, NOW).await
    };
    let token = totp().token(NOW);
    assert!(decide(&healthy, "alice", trusted, &token).await.is_ok());
    let records = healthy.throttle.changed(SAVED);
    keyless.throttle.merge(&records);
    for (source, of_nobody) in [(trusted, "203.0.113.1"), (other, "203.0.113.2")] {
        for _ in 0..20 {
            let said = decide(&keyless, "alice", source, &token).await.unwrap_err();
            let of_nobody = decide(&keyless, "nobody", of_nobody, &token).await;
            match (said, of_nobody.unwrap_err()) {
                (
                    Denial::Throttled { retry_after, .. },
                    Denial::Throttled {
                        retry_after: of_nobody,
                        ..
                    },
                ) => assert_eq!(retry_after, of_nobody),
                (
                    Denial::InvalidCredential { cause, delay },
                    Denial::InvalidCredential {
                        delay: of_nobody, ..
                    },
                ) => {
                    assert_eq!(cause, DenialCause::BrokenSeed);
                    assert_eq!(delay, of_nobody);
                }
                others => panic!("{others:?}"),
            }
        }
    }
    let records = keyless.throttle.changed(SAVED);
    let scopes: HashSet<_> = records.iter().map(|it| it.scope.as_str()).collect();
    assert_eq!(scopes, HashSet::from(["unknown"]));
    healthy.throttle.merge(&records);
    let failures = healthy.failures(&whole.identities[0], NOW);
    assert_eq!((failures.elsewhere, failures.trusted), (0, 0));
    for source in [trusted, other, "203.0.113.3"] {
        assert!(decide(&healthy, "alice", source, &token).await.is_ok());
    }
    // Attempts at the process with the key take nothing over from the other one.
    let records = healthy.throttle.changed(SAVED);
    assert!(records.iter().all(|it| it.failed == UnixTime::from_secs(0)));
}

#[tokio::test]
async fn invalid_credential_is_denied_by_every_policy_but_anyone() {
    let policies = [
        Policy::Authenticated,
        Policy::Allow([].into()),
        Policy::Capable(Capability::Verify),
    ];
    for policy in &policies {
        let stub = || alice(Some(totp()), State::Enabled);
        let decision = decide(stub(), Presented::Absent, policy).await;
        assert_eq!(reason(&decision), "no_credential");
        let decision = decide(stub(), Presented::Malformed(Flaw::TwoKinds), policy).await;
        assert_eq!(reason(&decision), "malformed_credential");
    }
}

#[tokio::test]
async fn anyone_passes_unidentified_even_while_the_store_is_down() {
    let token = totp().token(NOW);
    let decision = decide(
        Memory::failing(),
        present("alice", "ops", &token),
        &Policy::Anyone,
    )
    .await;
    let Decision::Permit(permit) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(permit.principal(), None);
}

#[tokio::test]
async fn authenticated_principal_outside_the_policy_is_not_allowed() {
    let token = totp().token(NOW);
    let dev = Rule {
        realm: "dev".into(),
        name: crate::policy::Names::All,
    };
    let elsewhere = Policy::Allow([dev].into());
    let stub = || alice(Some(totp()), State::Enabled);
    let decision = decide(stub(), present("alice", "ops", &token), &elsewhere).await;
    assert_eq!(reason(&decision), "not_allowed");
    // Only an authenticated principal learns whether it is allowed.
    let decision = decide(stub(), present("alice", "ops", "000000"), &elsewhere).await;
    assert_eq!(reason(&decision), "wrong_token");
}

#[tokio::test]
async fn late_or_early_token_is_rejected_but_is_no_guess() {
    let settings = settings();
    let store = Arc::new(alice(Some(totp()), State::Enabled));
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let authority = authority(&store, settings, &decoy);
    let decide = async |steps: i64| {
        let made = UnixTime::from_secs(NOW.as_secs().saturating_add_signed(steps * 30));
        let token = totp().token(made);
        let attempt = Attempt {
            presented: present("alice", "ops", &token),
            source: Source::of("192.0.2.1".parse().ok()),
        };
        let decision = authority
            .decide(&attempt, &Policy::Authenticated, NOW)
            .await;
        reason(&decision)
    };
    for _ in 0..50 {
        for steps in [-4, -3, -2, 2, 3, 4] {
            assert_eq!(decide(steps).await, "outside_window", "{steps}");
        }
    }
    assert_eq!(decide(0).await, "permit");
    for steps in [-5, 5, 6, 7, 8] {
        assert_eq!(decide(steps).await, "wrong_token", "{steps}");
    }
    // The source is trusted by now, and has five free failures as well.
    assert_eq!(decide(0).await, "throttled");
}

#[tokio::test]
async fn delayed_source_causes_no_store_read() {
    let store = Arc::new(alice(Some(totp()), State::Enabled));
    let mut settings = settings();
    settings.throttle.source_failures = 1;
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let authority = authority(&store, settings, &decoy);
    let decide = async |name, token: &str| {
        let attempt = Attempt {
            presented: present(name, "ops", token),
            source: Source::of("192.0.2.1".parse().ok()),
        };
        let decision = authority.decide(&attempt, &Policy::Authenticated, NOW);
        reason(&decision.await)
    };
    assert_eq!(decide("nobody", "000000").await, "unknown_principal");
    let readings = store.readings.load(Ordering::Relaxed);
    for (name, token) in [
        ("alice", &*totp().token(NOW)),
        ("alice", "000000"),
        ("bob", "1"),
    ] {
        assert_eq!(decide(name, token).await, "throttled");
    }
    assert_eq!(store.readings.load(Ordering::Relaxed), readings);
}

#[tokio::test]
async fn principal_trusted_at_a_delayed_source_is_not_delayed() {
    let store = Arc::new(alice(Some(totp()), State::Enabled));
    let mut settings = settings();
    settings.throttle.source_failures = 1;
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let authority = authority(&store, settings, &decoy);
    let token = totp().token(NOW);
    for (name, token, expected) in [
        ("alice", &*token, "permit"),
        ("bob", "000000", "unknown_principal"),
        ("bob", "000000", "throttled"),
        ("alice", &*token, "permit"),
    ] {
        let attempt = Attempt {
            presented: present(name, "ops", token),
            source: Source::of("192.0.2.1".parse().ok()),
        };
        let decision = authority.decide(&attempt, &Policy::Authenticated, NOW);
        assert_eq!(reason(&decision.await), expected);
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let canary = b"canary-canary-canary";
    let seed = Seed::from_bytes(canary).unwrap();
    let totp = Totp::new(&seed, Parameters::default());
    let token = totp.token(NOW);
    let store = alice(Some(totp.clone()), State::Enabled);
    let credential = Credential::new("n", "r", &token, 128).unwrap();
    let attempt = Attempt {
        presented: Presented::Credential(credential),
        source: Source::default(),
    };
    let new = NewIdentity {
        principal: Principal::new("n", "r", 128).unwrap(),
        seed: seed.clone(),
        parameters: Parameters::default(),
        terms: Terms::default(),
    };
    let change = Change {
        seed: Some(seed.clone()),
        ..Change::default()
    };
    let previous = crate::Previous {
        totp: totp.clone(),
        until: NOW,
    };
    let identity = store.identities[0].clone();
    let permit = Permit::proven(Authenticated::identity(identity.clone(), Proof::Nothing));
    let shown = format!(
        "{seed:?}{totp:?}{credential:?}{attempt:?}{new:?}{change:?}{previous:?}{identity:?}{permit:?}"
    );
    let hex: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = format!("{canary:?}");
    for secret in [
        "canary",
        &*token,
        &**seed.to_base32(),
        &*hex,
        bytes.trim_matches(['[', ']']),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn prediction_is_the_decision_about_a_right_token() {
    let allow = |realm: &str| {
        let rule = Rule {
            realm: realm.into(),
            name: crate::policy::Names::All,
        };
        Policy::Allow([rule].into())
    };
    let policies = [
        Policy::Anyone,
        Policy::Authenticated,
        allow("ops"),
        allow("dev"),
    ];
    let token = totp().token(NOW);
    let source = Source::of("192.0.2.1".parse().ok());
    let realms = Realms::default();
    let mut reasons = HashSet::new();
    for failures in [0, 9] {
        for (name, state) in [
            (Some("alice"), State::Enabled),
            (Some("alice"), State::Disabled),
            (Some("bob"), State::Enabled),
            (None, State::Enabled),
        ] {
            let (identities, settings) = (Arc::new(alice(Some(totp()), state)), settings());
            let decoy = Seed::from_bytes(b"decoy").unwrap();
            let local = local(&identities, settings, &decoy);
            let authority = Authority::new(Arc::clone(&local) as _, Realms::default());
            let decide = async |token, policy| {
                let presented = name.map(|name| present(name, "ops", token));
                let attempt = Attempt {
                    presented: presented.unwrap_or(Presented::Absent),
                    source,
                };
                reason(&authority.decide(&attempt, policy, NOW).await)
            };
            for _ in 0..failures {
                decide("000000", &Policy::Authenticated).await;
            }
            for policy in &policies {
                let foresight = match name {
                    None => Foresight::no_credential(),
                    Some(name) => {
                        let who = PrincipalRef::new(name, "ops", 128).unwrap();
                        local.foresee(who, source, NOW).await.unwrap()
                    }
                };
                let foreseen = foresight.denial(policy, &realms).await;
                let foreseen = foreseen.map_or("permit", |denial| denial.reason());
                assert_eq!(
                    foreseen,
                    decide(&token, policy).await,
                    "{name:?} {policy:?}"
                );
                reasons.insert(foreseen);
            }
        }
    }
    let expected = [
        "permit",
        "no_credential",
        "not_allowed",
        "disabled",
        "unknown_principal",
        "throttled",
    ];
    assert_eq!(reasons, HashSet::from(expected));
}
