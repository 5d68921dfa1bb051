//! Invariants that hold after any sequence of attempts.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{self, Memory};
use super::*;
use crate::{
    Attempt, Authority, Decision, IdentityId, Policy, Principal, Rare, State, Step, Terms, Usage,
    UsedSteps,
};

const START: u64 = 1_700_000_015;
const WINDOW: u8 = 1;
/// A realm with one-time tokens.
const ONCE: &str = "once";

fn seed(number: u8) -> Seed {
    Seed::from_bytes(&[number; 20]).unwrap()
}

/// A token as an attacker may choose it.
#[derive(Clone, Debug)]
enum Presents {
    /// That of a seed, `offset` steps from now.
    Of { seed: u8, offset: i64 },
    /// Six digits.
    Digits(u32),
    /// Any text.
    Text(String),
}

/// One attempt, after some time.
#[derive(Clone, Debug)]
struct Move {
    after: i64,
    name: usize,
    realm: usize,
    source: u8,
    presents: Presents,
}

const NAMES: [&str; 5] = ["alice", "bob", "gone", "nobody", "torn"];
const REALMS: [&str; 2] = [ONCE, "window"];

fn presents() -> impl Strategy<Value = Presents> {
    prop_oneof![
        6 => (0..8_u8, -3..=3_i64).prop_map(|(seed, offset)| Presents::Of { seed, offset }),
        2 => (0..1_000_000_u32).prop_map(Presents::Digits),
        1 => "\\PC{1,9}".prop_map(Presents::Text),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let after = prop_oneof![8 => 0..40_i64, 1 => -600..600_i64, 1 => 0..100_000_i64];
    let one = (after, 0..NAMES.len(), 0..2_usize, 0..3_u8, presents()).prop_map(
        |(after, name, realm, source, presents)| Move {
            after,
            name,
            realm,
            source,
            presents,
        },
    );
    vec(one, 1..120)
}

/// Two enabled identities and a disabled one in each realm, each with a seed of its own, and one
/// whose seed does not decrypt.
fn identities() -> Vec<Arc<Identity>> {
    let mut identities = Vec::new();
    for (number, realm) in (0_u8..).zip(REALMS) {
        for (place, name) in (0_u8..).zip(["alice", "bob", "gone", "torn"]) {
            let own = number * 3 + place;
            identities.push(Arc::new(Identity {
                id: IdentityId(i64::from(number * 4 + place)),
                principal: Principal::new(name, realm, 128).unwrap(),
                seeds: Seeds::new(
                    (name != "torn").then(|| Totp::new(&seed(own), Parameters::default())),
                    (name == "alice").then(|| crate::Previous {
                        totp: Totp::new(&seed(own + 6), Parameters::default()),
                        until: UnixTime::from_secs(START + 1_000),
                    }),
                )
                .into(),
                is_partial: name == "torn",
                parameters: Parameters::default(),
                state: if name == "gone" {
                    State::Disabled
                } else {
                    State::Enabled
                },
                rare: Rare {
                    terms: Terms {
                        expires: (name == "bob").then(|| UnixTime::from_secs(START + 5_000)),
                        ..Terms::default()
                    },
                    ..Rare::default()
                }
                .boxed(false),
                usage: Usage::default(),
                derived: Default::default(),
                created: UnixTime::from_secs(START),
                updated: UnixTime::from_secs(START),
                history: Default::default(),
            }));
        }
    }
    identities
}

fn authority() -> Authority {
    let settings = Settings {
        window: WINDOW,
        parameters: Parameters::default(),
        throttle: ThrottleSettings {
            longest_delay: Duration::from_secs(60),
            ..ThrottleSettings::default()
        },
        one_time_realms: vec![ONCE.into()],
    };
    let store = Arc::new(Memory::of(identities()));
    tests::authority(&store, settings, &seed(99))
}

fn decide(authority: &Authority, it: &Move, token: &str, now: UnixTime) -> Decision {
    let (name, realm) = (NAMES[it.name], REALMS[it.realm]);
    let attempt = Attempt {
        presented: Credential::new(name, realm, token, 128).into(),
        source: Source::of(Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, it.source)))),
    };
    let decision = authority.decide(&attempt, &Policy::Authenticated, now);
    decision.now_or_never().unwrap()
}

fn text(presents: &Presents, now: UnixTime) -> String {
    match presents {
        Presents::Of { seed: of, offset } => {
            let secs = now.as_secs().saturating_add_signed(offset * 30);
            let totp = Totp::new(&seed(*of), Parameters::default());
            totp.token(UnixTime::from_secs(secs))
        }
        Presents::Digits(digits) => format!("{digits:06}"),
        Presents::Text(text) => text.clone(),
    }
}

/// Returns the steps near `now` at which a token is right, by making the token of each.
fn right_for(identity: &Identity, token: &str, now: UnixTime) -> HashSet<u64> {
    let current = now.as_secs() / 30;
    let window = u64::from(WINDOW);
    let seeds = identity.seeds().unwrap();
    let both = seeds.present().into_iter().chain(seeds.previous(now));
    both.flat_map(|totp| {
        (current - window..=current + window)
            .filter(move |step| totp.token(UnixTime::from_secs(step * 30)) == token)
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_sequence_of_attempts_yields_a_permit_without_a_right_token(moves in moves()) {
        let authority = authority();
        let identities = identities();
        let mut spent = HashSet::new();
        let mut now = START;
        for it in &moves {
            now = now.saturating_add_signed(it.after);
            let at = UnixTime::from_secs(now);
            let token = text(&it.presents, at);
            let Decision::Permit(permit) = decide(&authority, it, &token, at) else {
                continue;
            };
            let who = permit.principal().unwrap();
            prop_assert_eq!((who.name(), who.realm()), (NAMES[it.name], REALMS[it.realm]));
            let identity = identities.iter().find(|it| it.principal.as_ref() == who);
            let identity = identity.expect("nobody passes who is not there");
            prop_assert_eq!(identity.state, State::Enabled);
            prop_assert!(identity.terms().expires.is_none_or(|until| at < until));
            let Proof::Token { step: Step(step), .. } = permit.proof() else {
                panic!("a permit without a token")
            };
            prop_assert!(right_for(identity, &token, at).contains(&step));
            if who.realm() == ONCE {
                prop_assert!(spent.insert((identity.id, step)), "step {} twice", step);
            }
        }
    }

    #[test]
    fn delayed_client_learns_nothing_about_the_token(moves in moves(), last in presents()) {
        let (one, other) = (authority(), authority());
        let mut now = START;
        for it in &moves {
            now = now.saturating_add_signed(it.after);
            let at = UnixTime::from_secs(now);
            // Both are in the same state until here, and so have the same delays; then one presents
            // something else.
            let token = text(&it.presents, at);
            decide(&one, it, &token, at);
            decide(&other, it, &token, at);
        }
        let at = UnixTime::from_secs(now);
        let it = moves.last().unwrap();
        let wait = |decision| match decision {
            Decision::Denial(Denial::Throttled { retry_after, .. }) => Some(retry_after),
            _ => None,
        };
        let one = wait(decide(&one, it, &text(&last, at), at));
        let other = wait(decide(&other, it, "000000", at));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn unknown_names_and_broken_seeds_are_delayed_like_known_ones(
        waits in vec(0..30_u64, 1..60),
        sources in vec(0..3_u8, 60),
    ) {
        let authority = authority();
        let mut now = START;
        for (wait, source) in waits.into_iter().zip(sources) {
            now += wait;
            let at = UnixTime::from_secs(now);
            let attempt = |name| Move {
                after: 0,
                name,
                realm: 1,
                // Distinct, so that the delay of the source is the same for both.
                source: source + u8::try_from(name * 50).unwrap(),
                presents: Presents::Digits(0),
            };
            let outcome = |name| match decide(&authority, &attempt(name), "wrong", at) {
                Decision::Denial(Denial::Throttled { retry_after, .. }) => Err(retry_after),
                Decision::Denial(Denial::InvalidCredential { delay, .. }) => Ok(delay),
                other => panic!("{other:?}"),
            };
            let known = outcome(0);
            prop_assert_eq!(known, outcome(3));
            prop_assert_eq!(known, outcome(4));
        }
    }

    #[test]
    fn step_is_used_at_most_once_in_any_order(
        steps in vec(prop_oneof![0..60_u64, 1_000..1_060_u64, any::<u64>()], 0..200),
        window in 0..=10_u8,
    ) {
        let mut had = HashMap::new();
        let mut spent = UsedSteps::default();
        for step in steps {
            if spent.use_step(Step(step), window) {
                prop_assert_eq!(had.insert(step, ()), None, "{} twice", step);
            }
            prop_assert!(!spent.use_step(Step(step), window));
            prop_assert_eq!(UsedSteps::from_bytes(&spent.to_bytes()), Some(spent.clone()));
        }
    }
}
