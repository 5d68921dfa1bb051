//! Makes each kind of denial repeatedly, for `bench/oracle` to count under callgrind.

#![expect(clippy::expect_used, reason = "a measurement that cannot be made ends")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use realmgate::auth::{
    Algorithm, Attempt, Authority, Change, Counts, Credential, Decision, LocalAuthenticator,
    NewIdentity, Parameters, Policy, Principal, Realms, Seed, Settings, Source, State, Store,
    Terms, ThrottleSettings, Totp, UnixTime,
};
use realmgate::store::{Intent, Options, open};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_015);
/// The number of decisions per call of a function in [`kinds`].
pub(crate) const AT_A_TIME: usize = 4;
/// The number of calls per kind.
const ROUNDS: usize = 40;

/// One function per kind, so that callgrind lists each separately.
pub(crate) mod kinds {
    use super::{AT_A_TIME, Case, black_box, decide};

    macro_rules! kinds {
        ($($name:ident)*) => {
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

            pub(super) fn run(name: &str, case: &Case) {
                match name {
                    $(stringify!($name) => $name(case),)*
                    _ => panic!("no kind {name}"),
                }
            }

            $(#[inline(never)]
            fn $name(case: &Case) {
                for _ in 0..AT_A_TIME {
                    black_box(decide(case));
                }
                black_box(stringify!($name));
            })*
        };
    }

    kinds! {
        wrong_token unknown disabled expired not_yet_valid broken_seed
        throttled_wrong throttled_right throttled_unknown
        shape_of_known shape_of_unknown
        eight_digits_known eight_digits_unknown
        sha512_wrong sha512_disabled sha512_broken
        permitted
    }
}

/// A decision that is made repeatedly.
struct Case {
    authority: Arc<Authority>,
    name: &'static str,
    token: String,
    reason: &'static str,
}

fn decide(case: &Case) -> Decision {
    let attempt = Attempt {
        presented: Credential::new(case.name, "ops", &case.token, 128).into(),
        source: Source::default(),
    };
    let decision = case.authority.decide(&attempt, &Policy::Authenticated, NOW);
    decision.now_or_never().expect("every principal is cached")
}

/// Makes every kind of decision in turn.
pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let cases = runtime.block_on(cases(folder.path()));
    let kinds: Vec<_> = kinds::NAMES.iter().zip(&cases).collect();
    // Each round begins with another kind, because the caches are cleaned up now and then, and no
    // kind should pay for the others.
    for round in 0..ROUNDS {
        let turn = kinds.iter().cycle().skip(round * 5 % kinds.len());
        for (name, case) in turn.take(kinds.len()) {
            kinds::run(name, case);
        }
    }
}

async fn cases(folder: &Path) -> Vec<Case> {
    let mut options = Options::of_file(folder.join("r.db"));
    options.timeout = Duration::from_secs(3600);
    let path = folder.join("r.db");
    let store: Arc<dyn Store> = open(options, Intent::Create).await.expect("a store");
    let seed = Seed::from_bytes(b"12345678901234567890").expect("a seed");
    let right = Totp::new(&seed, Parameters::default()).token(NOW);
    let eight = parameters(Algorithm::Sha1, 8);
    let long = parameters(Algorithm::Sha512, 6);
    // All of the same length, because a caller knows the length of its name.
    for (name, parameters) in [
        ("somebody", Parameters::default()),
        ("disabled", Parameters::default()),
        ("expired8", Parameters::default()),
        ("early--8", Parameters::default()),
        ("broken-8", Parameters::default()),
        ("digits-8", eight),
        ("longlong", long),
        ("longdisa", long),
        ("longbrok", long),
    ] {
        let terms = Terms {
            not_before: (name == "early--8").then(|| UnixTime::from_secs(NOW.as_secs() + 1)),
            expires: (name == "expired8").then_some(NOW),
            comment: None,
        };
        let new = NewIdentity {
            principal: Principal::new(name, "ops", 128).expect("a principal"),
            seed: seed.clone(),
            parameters,
            terms,
        };
        let id = store.create(new, NOW).await.expect("an identity").id;
        if matches!(name, "disabled" | "longdisa") {
            let change = Change {
                state: Some(State::Disabled),
                ..Change::default()
            };
            let _ = store.update(id, change, NOW).await.expect("a change");
        }
    }
    // As if somebody had copied a seed to another row.
    rusqlite::Connection::open(path)
        .and_then(|it| {
            it.execute(
                "UPDATE identity SET seed = (SELECT seed FROM identity WHERE name = 'somebody')
                    WHERE name IN ('broken-8', 'longbrok')",
                (),
            )
        })
        .expect("broken seeds");

    let patient = authority(&store, 1_000_000);
    let strict = authority(&store, 1);
    let case = |authority: &Arc<Authority>, name, token: &str, reason| Case {
        authority: Arc::clone(authority),
        name,
        token: token.to_owned(),
        reason,
    };
    let cases = vec![
        case(&patient, "somebody", "000000", "wrong_token"),
        case(&patient, "nobody-8", &right, "unknown_principal"),
        case(&patient, "disabled", &right, "disabled"),
        case(&patient, "expired8", &right, "expired"),
        case(&patient, "early--8", &right, "not_yet_valid"),
        case(&patient, "broken-8", &right, "broken_seed"),
        case(&strict, "somebody", "000000", "throttled"),
        case(&strict, "somebody", &right, "throttled"),
        case(&strict, "nobody-8", &right, "throttled"),
        case(&patient, "somebody", "00000", "wrong_token"),
        case(&patient, "nobody-8", "00000", "unknown_principal"),
        case(&patient, "digits-8", "00000000", "wrong_token"),
        case(&patient, "nobody-8", "00000000", "unknown_principal"),
        case(&patient, "longlong", "000000", "wrong_token"),
        case(&patient, "longdisa", &right, "disabled"),
        case(&patient, "longbrok", &right, "broken_seed"),
        case(&patient, "somebody", &right, "permit"),
    ];
    for case in &cases {
        warm(case).await;
    }
    cases
}

/// Fills the caches for a case, and checks the outcome.
async fn warm(case: &Case) {
    for _ in 0..2 {
        let attempt = Attempt {
            presented: Credential::new(case.name, "ops", "wrong", 128).into(),
            source: Source::default(),
        };
        if case.reason != "permit" {
            let policy = Policy::Authenticated;
            let _ = case.authority.decide(&attempt, &policy, NOW).await;
        }
    }
    let decided = match decide(case) {
        Decision::Permit(_) => "permit",
        Decision::Denial(denial) => denial.reason(),
    };
    assert_eq!(decided, case.reason, "{}", case.name);
}

fn parameters(algorithm: Algorithm, digits: u8) -> Parameters {
    Parameters::new(algorithm, digits, 30).expect("parameters")
}

fn authority(store: &Arc<dyn Store>, failures: u32) -> Arc<Authority> {
    let settings = Settings {
        window: 1,
        parameters: Parameters::default(),
        throttle: ThrottleSettings {
            failures,
            delay: Duration::from_secs(3600),
            longest_delay: Duration::from_secs(3600),
            ..ThrottleSettings::default()
        },
        one_time_realms: vec![],
    };
    let decoy = Seed::from_bytes(b"decoy-decoy-decoy-dec").expect("a seed");
    let (identities, counters) = (Arc::clone(store) as _, Arc::clone(store) as _);
    let counts = Counts::default();
    let authenticator = LocalAuthenticator::new(identities, counters, settings, &decoy, &counts);
    Arc::new(Authority::new(Arc::new(authenticator), Realms::default()))
}

#[cfg_attr(test, allow(dead_code, reason = "a test includes this file for `run`"))]
fn main() {
    run();
}
