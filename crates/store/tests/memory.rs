//! The memory of a cached identity.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::future::join_all;
use mimalloc::MiMalloc;
use realmgate_core::{
    Administration, Identities, ImportedIdentity, Parameters, Principal, Recall, Seed, State,
    Terms, UnixTime,
};
use realmgate_store::{Cached, Intent, Options, open};

/// As in the `realmgate` command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
/// The identities. One in [`FIRST`] is cached before the others are measured, so that memory that is
/// allocated once does not count, such as SQLite's cache of pages.
const IDENTITIES: usize = 50_000;
const FIRST: usize = 10;
/// The reads at once.
const TOGETHER: usize = 500;

/// What a cached identity may take, in bytes. It takes 290, and up to 100 more of what SQLite and the
/// allocator keep, which differs between runs.
const BOUND: usize = 600;

fn principal(at: usize) -> Principal {
    Principal::new(
        &format!("service-{at}"),
        &format!("realm-{}", at % 100),
        128,
    )
    .unwrap()
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

async fn cache(store: &Cached, numbers: &[usize]) {
    for some in numbers.chunks(TOGETHER) {
        let some: Vec<_> = some.iter().copied().map(principal).collect();
        let read = join_all(some.iter().map(|who| store.identity(who.as_ref()))).await;
        assert!(read.into_iter().all(|it| it.unwrap().is_some()));
    }
    for at in numbers {
        let who = principal(*at);
        assert!(matches!(store.recall(who.as_ref()), Recall::Known(_)));
    }
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim_end_matches("kB").trim();
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn cached_identity_takes_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::of_file(folder.path().join("r.db"));
    // More than are cached, so that no part of the cache is full.
    options.cache.capacity = 2 * IDENTITIES as u64;
    let store = open(options, Intent::Create).await.unwrap();
    for first in (0..IDENTITIES).step_by(5000) {
        let some = (first..first + 5000).map(identity).collect();
        store.import(some, NOW).await.unwrap();
    }
    let (first, others): (Vec<_>, Vec<_>) = (0..IDENTITIES).partition(|at| at % FIRST == 0);
    cache(&store, &first).await;
    let (before, count) = (resident(), others.len());
    cache(&store, &others).await;
    let each = resident().saturating_sub(before) / count;
    println!("{each} bytes");
    assert!(each <= BOUND, "{each} bytes");
}
