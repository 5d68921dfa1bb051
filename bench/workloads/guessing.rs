//! How many guesses are evaluated, and how much memory invented names take. Time is simulated, so
//! an hour takes seconds.
//!
//! ```sh
//! cargo run --release -p realmgate-bench --bin guessing                # evaluated guesses per hour and per day
//! cargo run --release -p realmgate-bench --bin guessing flood 10000000 # memory after as many invented names
//! ```

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends, and one that is made is shown"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use realmgate::auth::{
    Attempt, Authority, Counts, Credential, Decision, Denial, LocalAuthenticator, NewIdentity,
    Parameters, Policy, Principal, Realms, Seed, Settings, Source, Store, Terms, ThrottleSettings,
    Totp, UnixTime,
};
use realmgate::store::{Intent, Options, open};

const START: u64 = 1_700_000_000;
/// Attempts per second at one principal.
const RATE: u64 = 20;
/// The number of concurrent reads of unknown names.
const AT_A_TIME: u64 = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("flood") => {
            let names = args.next().map_or(Ok(10_000_000), |it| it.parse());
            flood(names.expect("a number")).await;
        }
        _ => {
            for (span, secs) in [("an hour", 3600), ("a day", 86_400)] {
                for sources in [1, 100, 10_000] {
                    for is_active in [false, true] {
                        let verdicts = guess(secs, sources, is_active).await;
                        let active = if is_active {
                            ", which succeeds in between"
                        } else {
                            ""
                        };
                        println!(
                            "{verdicts:4} guesses at a principal{active} get a verdict in {span}, from {sources} sources"
                        );
                    }
                }
            }
        }
    }
}

/// Guesses at one principal. If it is active, it authenticates from the same source before each
/// guess. Returns the number of evaluated guesses.
async fn guess(secs: u64, sources: u64, is_active: bool) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (authenticator, totp) = authenticator(folder.path()).await;
    let authority = Authority::new(authenticator, Realms::default());
    let mut verdicts = 0;
    for turn in 0..secs * RATE {
        let source = u32::try_from(turn % sources).expect("few sources");
        let now = UnixTime::from_secs(START + turn / RATE);
        if is_active {
            attempt(&authority, "alice", &totp.token(now), source, now).await;
        }
        verdicts += u64::from(attempt(&authority, "alice", "wrong", source, now).await);
    }
    verdicts
}

/// Presents a token. Returns whether it was evaluated and rejected.
async fn attempt(
    authority: &Authority,
    name: &str,
    token: &str,
    source: u32,
    now: UnixTime,
) -> bool {
    let attempt = Attempt {
        presented: Credential::new(name, "ops", token, 128).into(),
        source: Source::of(Some(IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | source)))),
    };
    let decision = authority
        .decide(&attempt, &Policy::Authenticated, now)
        .await;
    matches!(decision, Decision::Denial(Denial::InvalidCredential { .. }))
}

/// Invents names, each from an address of its own.
async fn flood(names: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (authenticator, _) = authenticator(folder.path()).await;
    let authority = Authority::new(Arc::clone(&authenticator) as _, Realms::default());
    let authority = Arc::new(authority);
    let now = UnixTime::from_secs(START);
    println!("{:8} KiB resident before", resident());
    for begun in (0..names).step_by(usize::try_from(AT_A_TIME).unwrap_or(1)) {
        let some = (begun..names.min(begun + AT_A_TIME)).map(|n| {
            let authority = Arc::clone(&authority);
            async move {
                let source = u32::try_from(n % (1 << 24)).unwrap_or_default();
                attempt(&authority, &format!("invented-{n}"), "wrong", source, now).await
            }
        });
        futures_util::future::join_all(some).await;
        if begun % 1_000_000 < AT_A_TIME {
            println!("{:8} KiB after {begun} names", resident());
        }
    }
    println!("{:8} KiB resident after {names} names", resident());
    authenticator.save().await.expect("a save");
    println!("{:8} KiB once counts are saved", resident());
}

/// Returns the resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("VmRSS")
}

async fn authenticator(folder: &Path) -> (Arc<LocalAuthenticator>, Totp) {
    let mut options = Options::of_file(folder.join("r.db"));
    options.timeout = Duration::from_secs(60);
    options.cache.capacity = 100_000;
    let store: Arc<dyn Store> = open(options, Intent::Create).await.expect("a store");
    let seed = Seed::generate().expect("a seed");
    let totp = Totp::new(&seed, Parameters::default());
    let new = NewIdentity {
        principal: Principal::new("alice", "ops", 128).expect("a principal"),
        seed,
        parameters: Parameters::default(),
        terms: Terms::default(),
    };
    let now = UnixTime::from_secs(START);
    store.create(new, now).await.expect("an identity");
    let settings = Settings {
        window: 1,
        parameters: Parameters::default(),
        throttle: ThrottleSettings::default(),
        one_time_realms: vec![],
    };
    let decoy = Seed::generate().expect("a seed");
    let (identities, counters) = (Arc::clone(&store) as _, store as _);
    let counts = Counts::default();
    let authenticator = LocalAuthenticator::new(identities, counters, settings, &decoy, &counts);
    (Arc::new(authenticator), totp)
}
