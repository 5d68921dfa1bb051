//! Creates a database with many identities, and measures the store with it. Used by `bench/scale`.
//!
//! - `many make DATABASE COUNT [SAMPLE]` creates `service-0`, `service-1` and so on in 100 realms,
//!   and prints the credentials of SAMPLE of them (1000 by default), evenly spread, as one JSON
//!   object per line;
//! - `many read DATABASE COUNT LOOKUPS` reads LOOKUPS of the COUNT identities in a scattered order,
//!   first from the database, then from the cache, and prints the durations;
//! - `many herd DATABASE COUNT READS` reads READS of the COUNT identities from SQLite, 64 and 1,024 at a time,
//!   and prints how long each takes.
//! - `many hold DATABASE COUNT HELD` caches HELD of the COUNT identities, and prints the memory per
//!   identity.

use std::error::Error;
use std::io::{BufWriter, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use realmgate::auth::{
    ImportedIdentity, Parameters, Principal, Recall, Seed, State, Store, StoreError, Terms,
    UnixTime,
};
use realmgate::config::Config;
use realmgate::server::store_options;
use realmgate::store::{self, Intent};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of identities per transaction.
const TOGETHER: usize = 50_000;
const REALMS: usize = 100;
const USAGE: &str = "usage: many make DATABASE COUNT [SAMPLE] | read DATABASE COUNT LOOKUPS | herd DATABASE COUNT READS | hold DATABASE COUNT HELD";

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    // On a worker thread, where requests are served.
    tokio::spawn(run()).await?
}

async fn run() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, database, count, more) = match &arguments[..] {
        [what, database, count] => (what.as_str(), database, count.parse()?, 1_000),
        [what, database, count, more] => (what.as_str(), database, count.parse()?, more.parse()?),
        _ => return Err(USAGE.into()),
    };
    let env = [
        (
            "REALMGATE_STORE_URL".into(),
            format!("sqlite:{database}").into(),
        ),
        ("REALMGATE_CACHE_CAPACITY".into(), "10000000".into()),
    ];
    let store: Arc<dyn Store> = store::open(
        store_options(&Config::load(None, env)?.store)?,
        Intent::Create,
    )
    .await?;
    match what {
        "make" => make(&*store, count, more).await,
        "read" => read(&*store, count, more).await,
        "herd" => herd(&store, count, more).await,
        "hold" => hold(&*store, count, more).await,
        _ => Err(USAGE.into()),
    }
}

fn principal(at: usize) -> Result<Principal, Box<dyn Error + Send + Sync>> {
    let (name, realm) = (format!("service-{at}"), format!("realm-{}", at % REALMS));
    Ok(Principal::new(&name, &realm, 128)?)
}

async fn make(store: &dyn Store, count: usize, sample: usize) -> Outcome {
    let every = count.div_ceil(sample.max(1)).max(1);
    let now = UnixTime::from(SystemTime::now());
    let mut out = BufWriter::new(stdout());
    let mut batch = Vec::with_capacity(TOGETHER.min(count));
    for at in 0..count {
        let (principal, seed) = (principal(at)?, Seed::generate()?);
        if sample > 0 && at % every == 0 {
            let (name, realm) = (principal.name(), principal.realm());
            let triple = json!({ "name": name, "realm": realm, "seed": *seed.to_base32() });
            writeln!(out, "{triple}")?;
        }
        batch.push(ImportedIdentity {
            id: None,
            principal,
            seed,
            parameters: Parameters::default(),
            state: State::Enabled,
            terms: Terms::default(),
            created: now,
        });
        if batch.len() == TOGETHER {
            store.import(std::mem::take(&mut batch), now).await?;
        }
    }
    store.import(batch, now).await?;
    Ok(out.flush()?)
}

/// Returns `some` of the numbers below `count` in a scattered order.
fn some(count: usize, some: usize) -> impl Iterator<Item = usize> {
    // The prime divides no power of ten, so this visits all numbers before it repeats one.
    (1..=some.min(count)).map(move |turn| turn.wrapping_mul(611_953_999) % count)
}

async fn read(store: &dyn Store, count: usize, lookups: usize) -> Outcome {
    let all: Vec<Principal> = some(count, lookups)
        .map(principal)
        .collect::<Result<_, _>>()?;
    let mut cold = Vec::with_capacity(all.len());
    for who in &all {
        let begun = Instant::now();
        let found = store.identity(who.as_ref()).await?;
        cold.push(begun.elapsed());
        found.ok_or("an identity is missing")?;
    }
    let mut warm = Vec::with_capacity(all.len());
    for who in &all {
        let begun = Instant::now();
        let found = store.recall(who.as_ref());
        warm.push(begun.elapsed());
        if !matches!(found, Recall::Known(_)) {
            return Err("an identity is not cached".into());
        }
    }
    report("read from SQLite", cold)?;
    report("cached", warm)
}

async fn herd(store: &Arc<dyn Store>, count: usize, reads: usize) -> Outcome {
    for at_once in [64, 1_024] {
        let all: Vec<Principal> = some(count, reads)
            .map(principal)
            .collect::<Result<_, _>>()?;
        let next = Arc::new((AtomicUsize::new(0), all));
        let callers: Vec<_> = (0..at_once)
            .map(|_| tokio::spawn(caller(Arc::clone(store), Arc::clone(&next))))
            .collect();
        let mut took = Vec::with_capacity(reads);
        for caller in callers {
            took.extend(caller.await??);
        }
        report(&format!("read from SQLite, {at_once} at a time"), took)?;
    }
    Ok(())
}

/// Reads the next identity until none is left.
async fn caller(
    store: Arc<dyn Store>,
    next: Arc<(AtomicUsize, Vec<Principal>)>,
) -> Result<Vec<Duration>, StoreError> {
    let (at, all) = &*next;
    let mut took = Vec::new();
    while let Some(who) = all.get(at.fetch_add(1, Ordering::Relaxed)) {
        let begun = Instant::now();
        store.identity(who.as_ref()).await?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

fn report(what: &str, mut took: Vec<Duration>) -> Outcome {
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        let took = took.get(place).or(took.last());
        took.map_or(0.0, |took| took.as_secs_f64() * 1e6)
    };
    let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), at(1.0));
    let mut out = stdout().lock();
    writeln!(
        out,
        "{what}: p50 {p50:.1} us, p99 {p99:.1} us, p99.9 {p999:.1} us, max {max:.0} us"
    )?;
    Ok(())
}

async fn hold(store: &dyn Store, count: usize, held: usize) -> Outcome {
    // Warm up, so that fixed costs do not count.
    for at in some(count, 100) {
        store.identity(principal(at)?.as_ref()).await?;
    }
    let before = resident()?;
    for at in some(count, held) {
        store.identity(principal(at)?.as_ref()).await?;
    }
    let bytes = resident()?.saturating_sub(before) / held.max(1);
    writeln!(stdout(), "{held} cached: {bytes} bytes each")?;
    Ok(())
}

/// Returns the resident memory of this process in bytes.
fn resident() -> Result<usize, Box<dyn Error + Send + Sync>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("no VmRSS")?.parse::<usize>()? * 1024)
}
