//! How many guesses are evaluated, and how much memory invented names take. Time is simulated, so
//! an hour takes seconds.
//!
//! ```sh
//! cargo run --release -p realmgate-bench --bin guessing                # evaluated guesses per hour and per day
//! cargo run --release -p realmgate-bench --bin guessing nodes          # the same at three nodes beside one
//! cargo run --release -p realmgate-bench --bin guessing flood 10000000 # memory after as many invented names
//! ```

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends, and one that is made is shown"
)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use realmgate::auth::{
    Attempt, Authority, Claim, ClaimOutcome, Counters, Counts, Credential, Decision, Denial,
    IdentityId, LocalAuthenticator, NewIdentity, Parameters, Policy, Principal, Realms, Seed,
    Settings, Source, Step, Store, StoreError, Terms, ThrottleSettings, Totp, UnixTime, UsageBatch,
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
        Some("nodes") => {
            for (span, secs) in [("an hour", 3600), ("a day", 86_400)] {
                for nodes in [1, 3] {
                    let verdicts = guess_at_nodes(secs, 10_000, nodes).await;
                    println!(
                        "{verdicts:4} guesses at a principal get a verdict in {span}, from 10000 sources, at {nodes} nodes"
                    );
                }
            }
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

/// Guesses at one principal through several nodes in turn, which exchange their counts each second.
/// Returns the number of evaluated guesses.
async fn guess_at_nodes(secs: u64, sources: u64, nodes: usize) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = store(folder.path()).await;
    let shared = Arc::new(Shared {
        store: Arc::clone(&store),
        now: AtomicU64::new(START),
        claims: Mutex::default(),
    });
    let node = |_| node(&store, Arc::clone(&shared) as _);
    let nodes: Vec<_> = (0..nodes).map(node).collect();
    let authority =
        |it: &Arc<LocalAuthenticator>| Authority::new(Arc::clone(it) as _, Realms::default());
    let authorities: Vec<_> = nodes.iter().map(authority).collect();
    let mut verdicts = 0;
    for second in 0..secs {
        let now = UnixTime::from_secs(START + second);
        shared.now.store(now.as_secs(), Ordering::Relaxed);
        for turn in (second * RATE..).take(usize::try_from(RATE).unwrap_or(1)) {
            let source = u32::try_from(turn % sources).expect("few sources");
            for authority in &authorities {
                verdicts += u64::from(attempt(authority, "alice", "wrong", source, now).await);
            }
        }
        for node in &nodes {
            node.save(now).await.expect("a save");
        }
    }
    verdicts
}

/// A store that nodes share, with the claims that PostgreSQL would keep, by the simulated clock.
struct Shared {
    store: Arc<dyn Store>,
    now: AtomicU64,
    claims: Mutex<HashMap<[u8; 16], u64>>,
}

#[async_trait]
impl Counters for Shared {
    async fn use_step(&self, id: IdentityId, step: Step, window: u8) -> Result<bool, StoreError> {
        self.store.use_step(id, step, window).await
    }

    async fn counts(&self, after: i64) -> Result<Counts, StoreError> {
        self.store.counts(after).await
    }

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError> {
        self.store.save(batch).await
    }

    fn has_claims(&self) -> bool {
        true
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, StoreError> {
        let now = self.now.load(Ordering::Relaxed);
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let until = claims.entry(claim.tag).or_default();
        if *until > now {
            return Ok(ClaimOutcome::Denied(Duration::from_secs(*until - now)));
        }
        *until = now + claim.lasts.as_secs();
        Ok(ClaimOutcome::Granted(0))
    }

    async fn end(&self, claim: Claim, _granted: i64, is_guess: bool) -> Result<(), StoreError> {
        if !is_guess {
            let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
            claims.remove(&claim.tag);
        }
        Ok(())
    }
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
    authenticator
        .save(UnixTime::from_secs(START))
        .await
        .expect("a save");
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
    let (store, totp) = store(folder).await;
    (node(&store, Arc::clone(&store) as _), totp)
}

/// Makes a store with one identity, alice.
async fn store(folder: &Path) -> (Arc<dyn Store>, Totp) {
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
    (store, totp)
}

fn node(store: &Arc<dyn Store>, counters: Arc<dyn Counters>) -> Arc<LocalAuthenticator> {
    let settings = Settings {
        window: 1,
        parameters: Parameters::default(),
        throttle: ThrottleSettings::default(),
        one_time_realms: vec![],
    };
    let decoy = Seed::generate().expect("a seed");
    let identities = Arc::clone(store) as _;
    let counts = Counts::default();
    let node = LocalAuthenticator::new(identities, counters, settings, &decoy, &counts);
    Arc::new(node)
}
