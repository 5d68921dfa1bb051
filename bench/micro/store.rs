//! The cost of the store: reading an uncached principal from SQLite, and looking up a cached one
//! from many threads. `bench/scale` goes up to ten million identities.
//!
//!   cargo bench -p realmgate-bench --bench store

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that fails ends"
)]

use std::ffi::OsString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use realmgate::auth::{
    ImportedIdentity, Parameters, Principal, Recall, Seed, State, Store, Terms, UnixTime,
};
use realmgate::config::Config;
use realmgate::server::store_options;
use realmgate::store::{self, Intent};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_015);

/// The event loop, which a store needs until after it is dropped.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn main() {
    let _entered = RUNTIME.enter();
    divan::main();
}

/// A store with `identities` identities, `name-0` and so on, that caches at most `capacity`.
struct Stored {
    store: Arc<dyn Store>,
    _folder: TempDir,
}

impl Stored {
    fn new(identities: usize, capacity: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("bench.db").display());
        let env: [(OsString, OsString); 2] = [
            ("REALMGATE_STORE_URL".into(), url.into()),
            (
                "REALMGATE_CACHE_CAPACITY".into(),
                capacity.to_string().into(),
            ),
        ];
        let config = Config::load(None, env).unwrap();
        let store: Arc<dyn Store> = RUNTIME
            .block_on(store::open(
                store_options(&config.store).unwrap(),
                Intent::Create,
            ))
            .unwrap();
        let all: Vec<_> = (0..identities).map(identity).collect();
        RUNTIME.block_on(store.import(all, NOW)).unwrap();
        Self {
            store,
            _folder: folder,
        }
    }
}

fn identity(at: usize) -> ImportedIdentity {
    ImportedIdentity {
        id: None,
        principal: principal(at),
        seed: Seed::generate().unwrap(),
        parameters: Parameters::default(),
        state: State::Enabled,
        terms: Terms::default(),
        created: NOW,
    }
}

fn principal(at: usize) -> Principal {
    Principal::new(&format!("name-{at}"), "payments", 128).unwrap()
}

/// Reads uncached principals in a scattered order.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn miss(bencher: Bencher<'_, '_>, identities: usize) {
    let stored = Stored::new(identities, 1);
    let mut at = 0;
    bencher
        .with_inputs(|| {
            // 7,919 has no divisor in common with the sizes above, so this visits every identity.
            at = (at + 7_919) % identities;
            principal(at)
        })
        .bench_local_values(|who| {
            let found = stored.store.identity(who.as_ref());
            black_box(RUNTIME.block_on(found).unwrap())
        });
}

/// Looks up one of 1,000 cached principals.
#[divan::bench(threads = [1, 2, 16])]
fn remembered(bencher: Bencher<'_, '_>) {
    const HELD: usize = 1_000;
    let stored = Stored::new(HELD, 2 * HELD);
    let all: Vec<Principal> = (0..HELD).map(principal).collect();
    for who in &all {
        let found = stored.store.identity(who.as_ref());
        RUNTIME.block_on(found).unwrap();
    }
    let turn = AtomicUsize::new(0);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let at = turn.fetch_add(7, Ordering::Relaxed) % HELD;
        let recalled = stored.store.recall(all[at].as_ref());
        assert!(matches!(black_box(recalled), Recall::Known(_)));
    });
}
