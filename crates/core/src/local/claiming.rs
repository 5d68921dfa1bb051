//! Several nodes on one database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::tests::{Memory, totp};
use super::*;
use crate::{
    Claim, ClaimOutcome, IdentityId, Principal, Scope, State, Step, ThrottleRecord, Usage,
    UsageBatch,
};

const START: u64 = 1_700_000_015;
const FREE: u64 = 5;

/// Counts and claims of all nodes, by one clock.
#[derive(Default)]
struct Shared {
    now: AtomicU64,
    is_away: AtomicBool,
    claims: Mutex<HashMap<(Scope, [u8; 16]), u64>>,
    asked: AtomicU64,
    saved: Mutex<Vec<ThrottleRecord>>,
}

#[async_trait]
impl Counters for Shared {
    async fn use_step(&self, _: IdentityId, _: Step, _: u8) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn counts(&self, _: i64) -> Result<Counts, StoreError> {
        Ok(Counts {
            records: self.saved.lock().clone(),
            ..Counts::default()
        })
    }

    async fn save(&self, batch: UsageBatch) -> Result<(), StoreError> {
        let mut saved = self.saved.lock();
        for mut new in batch.counts {
            let place = saved
                .iter()
                .position(|it| (it.scope, it.tag) == (new.scope, new.tag));
            let old = place.map(|at| saved.swap_remove(at));
            if let (Some(old), Some(added)) = (old, new.added) {
                let base = old.paid.max(new.failed).as_secs();
                new.paid = UnixTime::from_secs(base.saturating_add_signed(added));
                new.failed = new.failed.max(old.failed);
                new.passed = new.passed.max(old.passed);
            }
            new.added = Some(0);
            saved.push(new);
        }
        Ok(())
    }

    fn has_claims(&self) -> bool {
        true
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Timeout);
        }
        let now = self.now.load(Ordering::Relaxed);
        let mut claims = self.claims.lock();
        let until = claims.entry((claim.scope, claim.tag)).or_default();
        if *until > now {
            return Ok(ClaimOutcome::Denied(Duration::from_secs(*until - now)));
        }
        *until = now + claim.lasts.as_secs();
        Ok(ClaimOutcome::Granted(0))
    }

    async fn end(&self, claim: Claim, _granted: i64, is_guess: bool) -> Result<(), StoreError> {
        if !is_guess {
            self.claims.lock().remove(&(claim.scope, claim.tag));
        }
        Ok(())
    }
}

/// Nodes on one database with one identity, alice.
struct Nodes {
    shared: Arc<Shared>,
    nodes: Vec<LocalAuthenticator>,
    alice: Arc<Identity>,
    now: u64,
}

impl Nodes {
    fn start(count: usize) -> Self {
        let identity = Identity {
            id: IdentityId(1),
            principal: Principal::new("alice", "ops", 128).unwrap(),
            seeds: Seeds::new(Some(totp()), None).into(),
            is_partial: false,
            parameters: Parameters::default(),
            state: State::Enabled,
            rare: None,
            usage: Usage::default(),
            derived: Default::default(),
            history: Default::default(),
            created: UnixTime::from_secs(START),
            updated: UnixTime::from_secs(START),
        };
        let alice = Arc::new(identity);
        let memory = Arc::new(Memory::of(vec![Arc::clone(&alice)]));
        let mut nodes = Self {
            nodes: Vec::new(),
            shared: Arc::new(Shared::default()),
            alice,
            now: START,
        };
        nodes.nodes = (0..count)
            .map(|_| nodes.node(Arc::clone(&memory) as _))
            .collect();
        nodes.at(START);
        nodes
    }

    fn node(&self, identities: Arc<dyn Identities>) -> LocalAuthenticator {
        let settings = Settings {
            window: 1,
            parameters: Parameters::default(),
            throttle: ThrottleSettings::default(),
            one_time_realms: vec![],
        };
        let decoy = Seed::from_bytes(b"decoy").unwrap();
        let counters = Arc::clone(&self.shared) as _;
        LocalAuthenticator::new(identities, counters, settings, &decoy, &Counts::default())
    }

    fn at(&mut self, now: u64) {
        self.now = now;
        self.shared.now.store(now, Ordering::Relaxed);
    }

    async fn exchange(&self) {
        for node in self.nodes.iter().chain(&self.nodes) {
            node.save(UnixTime::from_secs(self.now)).await.unwrap();
        }
    }

    async fn attempt(
        &self,
        node: usize,
        name: &str,
        token: &str,
        source: u32,
    ) -> Result<(), Denial> {
        let credential = Credential::new(name, "ops", token, 128).unwrap();
        let source = std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(10 << 24 | source));
        let source = Source::of(Some(source));
        let now = UnixTime::from_secs(self.now);
        let node = &self.nodes[node];
        let outcome = match node.authenticate_now(&credential, source, now) {
            Some(outcome) => outcome,
            None => node.authenticate(&credential, source, now).await,
        };
        outcome.map(drop)
    }

    fn right(&self) -> String {
        totp().token(UnixTime::from_secs(self.now))
    }

    /// Guesses at a name from many sources, through all nodes, for a time. Returns the number of
    /// guesses that were evaluated.
    async fn guess(&mut self, name: &str, secs: u64) -> u64 {
        let (mut verdicts, mut source) = (0, 0);
        for second in 0..secs {
            self.at(START + second);
            for _ in 0..8 {
                for node in 0..self.nodes.len() {
                    source += 1;
                    let outcome = self.attempt(node, name, "wrong", source).await;
                    verdicts += u64::from(matches!(outcome, Err(Denial::InvalidCredential { .. })));
                }
            }
            self.exchange().await;
        }
        verdicts
    }
}

#[tokio::test]
async fn nodes_evaluate_their_free_guesses_and_then_one_per_delay_together() {
    let alone = Nodes::start(1).guess("alice", 600).await;
    let together = Nodes::start(3).guess("alice", 600).await;
    // The free ones of the two other nodes.
    assert!(together <= alone + 2 * FREE, "{alone}, {together}");
    let first = Nodes::start(3).guess("alice", 1).await;
    assert!((3 * FREE..=3 * FREE + 1).contains(&first), "{first}");
}

#[tokio::test]
async fn invented_names_get_the_same_verdicts_through_every_node() {
    let mut nodes = Nodes::start(3);
    for second in 0..120 {
        nodes.at(START + second);
        for node in [0, 1, 2, 2, 1, 0] {
            let mut outcomes = Vec::new();
            for (name, source) in [("alice", 1), ("nobody", 2)] {
                let source = 100 * u32::try_from(second).unwrap() + source;
                let outcome = nodes.attempt(node, name, "wrong", source).await;
                outcomes.push(match outcome.unwrap_err() {
                    Denial::InvalidCredential { delay, .. } => (delay.map(|it| it.lasts), None),
                    Denial::Throttled { retry_after, .. } => (None, Some(retry_after)),
                    other => panic!("{other:?}"),
                });
            }
            assert_eq!(outcomes[0], outcomes[1], "{second}");
        }
        nodes.exchange().await;
    }
}

#[tokio::test]
async fn attempt_without_its_claim_is_not_evaluated() {
    let mut nodes = Nodes::start(2);
    for source in 0..5 {
        nodes
            .attempt(0, "alice", "wrong", source)
            .await
            .unwrap_err();
    }
    nodes.exchange().await;
    // The delay of the fifth failure is over.
    nodes.at(START + 2);
    let right = nodes.right();
    nodes.shared.is_away.store(true, Ordering::Relaxed);
    for name in ["alice", "nobody"] {
        if name == "nobody" {
            for source in 10..15 {
                nodes.attempt(0, name, "wrong", source).await.unwrap_err();
            }
            nodes.at(START + 4);
        }
        let denial = nodes.attempt(0, name, &right, 20).await.unwrap_err();
        assert!(matches!(denial, Denial::Unavailable(_)), "{denial:?}");
        let asked = nodes.shared.asked.load(Ordering::Relaxed);
        // Until the outcome is known, no other attempt asks the database.
        let denial = nodes.attempt(0, name, &right, 21).await.unwrap_err();
        assert!(matches!(denial, Denial::Throttled { .. }), "{denial:?}");
        assert_eq!(nodes.shared.asked.load(Ordering::Relaxed), asked);
    }
    nodes.shared.is_away.store(false, Ordering::Relaxed);
    nodes.at(START + 10);
    let right = nodes.right();
    // One node has the claim, and the other one does not evaluate.
    let denial = nodes.attempt(0, "alice", "wrong", 30).await.unwrap_err();
    assert!(
        matches!(denial, Denial::InvalidCredential { .. }),
        "{denial:?}"
    );
    let denial = nodes.attempt(1, "alice", &right, 31).await.unwrap_err();
    assert!(matches!(denial, Denial::Throttled { .. }), "{denial:?}");
    let asked = nodes.shared.asked.load(Ordering::Relaxed);
    let denial = nodes.attempt(1, "alice", &right, 32).await.unwrap_err();
    assert!(matches!(denial, Denial::Throttled { .. }), "{denial:?}");
    assert_eq!(nodes.shared.asked.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn right_token_gives_its_claim_back_and_needs_none_where_it_is_trusted() {
    let mut nodes = Nodes::start(2);
    for source in 0..5 {
        nodes
            .attempt(0, "alice", "wrong", source)
            .await
            .unwrap_err();
    }
    nodes.exchange().await;
    nodes.at(START + 2);
    let right = nodes.right();
    for (node, source) in [(0, 40), (1, 41), (0, 42), (1, 43)] {
        nodes.attempt(node, "alice", &right, source).await.unwrap();
    }
    let asked = nodes.shared.asked.load(Ordering::Relaxed);
    assert_eq!(asked, 4);
    for _ in 0..3 {
        nodes.attempt(0, "alice", &right, 40).await.unwrap();
    }
    assert_eq!(nodes.shared.asked.load(Ordering::Relaxed), asked);
}

/// A cache with alice, whose database fails.
struct Failing {
    memory: Memory,
    /// Whether it has alice and the unknown names in memory. Otherwise they are out of date, and
    /// count because the read fails.
    is_fresh: AtomicBool,
    is_failing: AtomicBool,
    reads: AtomicU64,
}

#[async_trait]
impl Identities for Failing {
    fn recall(&self, who: PrincipalRef<'_>) -> Recall {
        match (self.is_fresh.load(Ordering::Relaxed), who.name()) {
            (false, _) => Recall::Nothing,
            (true, "alice") => Recall::Known(self.memory.alice()),
            (true, _) => Recall::Unknown,
        }
    }

    fn recall_unknown(&self, _: PrincipalRef<'_>) {}

    async fn identity(&self, who: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.memory.identity(who).await
    }

    fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

#[tokio::test]
async fn while_the_database_fails_existing_and_invented_names_ask_it_alike_and_once() {
    let mut nodes = Nodes::start(1);
    let cache = Arc::new(Failing {
        memory: Memory::of(vec![Arc::clone(&nodes.alice)]),
        is_fresh: AtomicBool::new(true),
        is_failing: AtomicBool::new(false),
        reads: AtomicU64::default(),
    });
    nodes.nodes = vec![nodes.node(Arc::clone(&cache) as _)];
    for name in ["alice", "nobody"] {
        for source in 0..5 {
            nodes.attempt(0, name, "wrong", source).await.unwrap_err();
        }
    }
    nodes.shared.is_away.store(true, Ordering::Relaxed);
    cache.is_failing.store(true, Ordering::Relaxed);
    let (mut now, mut source) = (START, 10);
    for is_fresh in [true, false] {
        cache.is_fresh.store(is_fresh, Ordering::Relaxed);
        for _ in 0..3 {
            // The delay is over.
            now += 2;
            nodes.at(now);
            let mut ways = Vec::new();
            for name in ["alice", "nobody"] {
                let calls = || {
                    cache.reads.load(Ordering::Relaxed) + nodes.shared.asked.load(Ordering::Relaxed)
                };
                for _ in 0..2 {
                    source += 1;
                    let before = calls();
                    let denial = nodes.attempt(0, name, "wrong", source).await.unwrap_err();
                    let calls = calls() - before;
                    assert!(calls <= 1, "{name}: {calls} calls");
                    let left = match &denial {
                        Denial::Throttled { retry_after, .. } => Some(*retry_after),
                        _ => None,
                    };
                    ways.push((denial.reason(), left, calls));
                }
            }
            assert_eq!(ways[0].0, "store_unavailable");
            assert_eq!(ways[..2], ways[2..], "{is_fresh}");
        }
    }
}
