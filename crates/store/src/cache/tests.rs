use std::path::Path;

use super::*;
use crate::database::Loaded;
use crate::{Intent, Options, open};
use realmgate_core::{
    Administration, Change, ChangeError, IdentityId, NewIdentity, Parameters, Seed, Selection,
    State, Terms,
};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
/// The promised second, and a margin for a busy machine.
const FELT_WITHIN: Duration = Duration::from_secs(30);

fn options(dir: &Path) -> Options {
    let mut options = Options::of_file(dir.join("r.db"));
    options.cache.unknown_capacity = 10;
    options
}

fn principal(name: &str) -> Principal {
    Principal::new(name, "r", 128).unwrap()
}

fn new(name: &str) -> NewIdentity {
    NewIdentity {
        principal: principal(name),
        seed: Seed::generate().unwrap(),
        parameters: Parameters::default(),
        terms: Terms::default(),
    }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + FELT_WITHIN;
    while !condition().await {
        assert!(
            Instant::now() < deadline,
            "not within {FELT_WITHIN:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn written_identity_is_read_back_and_then_cached() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let alice = new("alice");
    let seed = alice.seed.clone();
    let created = store.create(alice, NOW).await.unwrap();
    let who = created.principal.as_ref();
    assert!(matches!(store.recall(who), Recall::Nothing));
    let read = store.identity(who).await.unwrap().unwrap();
    assert_eq!(read.id, created.id);
    assert_eq!(read.seed(), Some(seed));
    assert_eq!((read.created, read.updated), (NOW, NOW));
    assert!(matches!(store.recall(who), Recall::Known(_)));
}

#[tokio::test]
async fn taken_name_is_rejected_at_creation_and_at_renaming() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    store.create(new("a"), NOW).await.unwrap();
    let b = store.create(new("b"), NOW).await.unwrap();
    let error = store.create(new("a"), NOW).await.unwrap_err();
    assert!(matches!(error, ChangeError::Taken));
    let change = Change {
        name: Some("a".into()),
        ..Change::default()
    };
    let error = store.update(b.id, change, NOW).await.unwrap_err();
    assert!(matches!(error, ChangeError::Taken));
}

#[tokio::test]
async fn renamed_identity_keeps_its_seed_and_its_old_name_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let new = new("a");
    let seed = new.seed.clone();
    let id = store.create(new, NOW).await.unwrap().id;
    let (a, b) = (principal("a"), principal("b"));
    // Cache both results before the change.
    assert!(store.identity(a.as_ref()).await.unwrap().is_some());
    assert!(store.identity(b.as_ref()).await.unwrap().is_none());
    let change = Change {
        name: Some(b.name().into()),
        realm: Some(b.realm().into()),
        ..Change::default()
    };
    let changed = store.update(id, change, NOW).await.unwrap().unwrap();
    assert_eq!(changed.identity.seed(), Some(seed));
    assert!(matches!(store.recall(a.as_ref()), Recall::Nothing));
    assert!(store.identity(a.as_ref()).await.unwrap().is_none());
    assert!(store.identity(b.as_ref()).await.unwrap().is_some());
}

#[tokio::test]
async fn writes_of_another_process_take_effect_here() {
    let dir = tempfile::tempdir().unwrap();
    let here = open(options(dir.path()), Intent::Begin).await.unwrap();
    let there = open(options(dir.path()), Intent::Begin).await.unwrap();
    let who = principal("a");
    let who = who.as_ref();
    assert!(here.identity(who).await.unwrap().is_none());
    assert!(matches!(here.recall(who), Recall::Unknown));

    let id = there.create(new("a"), NOW).await.unwrap().id;
    until("creation", async || {
        here.identity(who).await.unwrap().is_some() && matches!(here.recall(who), Recall::Known(_))
    })
    .await;

    let change = Change {
        state: Some(State::Disabled),
        ..Change::default()
    };
    there.update(id, change, NOW).await.unwrap();
    until("disabling", async || match here.recall(who) {
        Recall::Known(identity) => identity.state == State::Disabled,
        _ => {
            here.identity(who).await.unwrap();
            false
        }
    })
    .await;

    there.delete(id, None).await.unwrap();
    until("deletion", async || {
        !matches!(here.recall(who), Recall::Known(_))
    })
    .await;
    assert!(here.identity(who).await.unwrap().is_none());
}

#[tokio::test]
async fn reading_overtaken_by_the_log_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let identity = store.create(new("a"), NOW).await.unwrap();
    let inner = &store.inner;
    let late = Loaded {
        identity: Some(Arc::clone(&identity)),
        as_of: Seq(1),
    };
    inner.seen.store(2, Ordering::SeqCst);
    inner.remember(&identity.principal, &late);
    let who = identity.principal.as_ref();
    assert!(matches!(store.recall(who), Recall::Nothing));
}

#[tokio::test]
async fn requests_for_one_principal_share_one_reading() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let one = Inner::flight(&store.inner, principal("a"));
    let other = Inner::flight(&store.inner, principal("a"));
    assert!(one.ptr_eq(&other));
    drop(one);
    assert!(other.await.unwrap().is_none());
    until("the flight has landed", async || {
        store.inner.flights.lock().is_empty()
    })
    .await;
}

#[tokio::test]
async fn reading_that_ended_by_a_panic_does_not_stand_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let who = principal("a");
    let ended = async { Err(StoreError::Closed) }.boxed().shared();
    assert!(ended.clone().await.is_err());
    store.inner.flights.lock().insert(who.clone(), ended);
    assert!(store.identity(who.as_ref()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_at_once_each_return_their_own_identity() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let known: Vec<_> = (0..200).map(|n| format!("svc{n}")).collect();
    let new = known.iter().map(|name| new(name).created_at(NOW)).collect();
    store.import(new, NOW).await.unwrap();
    let read = |name: String| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let who = principal(&name);
            let found = store.identity(who.as_ref()).await.unwrap();
            found.is_none_or(|it| it.principal == who)
                && matches!(store.recall(who.as_ref()), Recall::Known(_)) == name.starts_with("svc")
        })
    };
    // Often, because a read may come just when the last reader ends.
    for _ in 0..20 {
        store.inner.forget_all();
        let unknown = (0..200).map(|n| format!("nobody{n}"));
        let all: Vec<_> = known.iter().cloned().chain(unknown).map(read).collect();
        for one in all {
            assert!(one.await.unwrap());
        }
    }
}

#[tokio::test]
async fn flood_of_unknown_names_is_bounded_and_evicts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let known = store.create(new("a"), NOW).await.unwrap();
    let known = known.principal.as_ref();
    store.identity(known).await.unwrap();
    for n in 0..200 {
        let who = principal(&format!("nobody{n}"));
        assert!(store.identity(who.as_ref()).await.unwrap().is_none());
    }
    assert!(store.inner.unknown.len() <= 10);
    assert!(matches!(store.recall(known), Recall::Known(_)));
}

fn disabling() -> Change {
    Change {
        state: Some(State::Disabled),
        ..Change::default()
    }
}

/// Reads an identity and returns it as a long-lived connection would hold it.
async fn held(store: &Cached, name: &str) -> Arc<Identity> {
    let who = principal(name);
    assert!(store.identity(who.as_ref()).await.unwrap().is_some());
    match store.recall(who.as_ref()) {
        Recall::Known(identity) => identity,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn seeds_leave_memory_with_each_change_even_in_held_records() {
    let dir = tempfile::tempdir().unwrap();
    let here = open(options(dir.path()), Intent::Begin).await.unwrap();
    let there = open(options(dir.path()), Intent::Begin).await.unwrap();
    let rotation = || Change {
        seed: Some(Seed::generate().unwrap()),
        ..Change::default()
    };
    for (number, by) in [&here, &there].into_iter().enumerate() {
        let name = format!("svc{number}");
        let id = here.create(new(&name), NOW).await.unwrap().id;
        for change in [rotation(), disabling()] {
            let identity = held(&here, &name).await;
            assert!(identity.seed().is_some());
            by.update(id, change, NOW).await.unwrap();
            until("the change", async || identity.seeds().is_none()).await;
        }
        by.update(
            id,
            Change {
                state: Some(State::Enabled),
                ..Change::default()
            },
            NOW,
        )
        .await
        .unwrap();
        until("enabling", async || {
            here.identity(principal(&name).as_ref())
                .await
                .unwrap()
                .unwrap()
                .state
                == State::Enabled
        })
        .await;
        let identity = held(&here, &name).await;
        assert!(identity.seed().is_some());
        by.delete(id, None).await.unwrap();
        until("the deletion", async || identity.seeds().is_none()).await;
    }
}

#[tokio::test]
async fn seeds_leave_memory_when_the_cache_is_cleared_and_when_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.cache.capacity = 2;
    let store = open(options, Intent::Begin).await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        store.create(new(name), NOW).await.unwrap();
    }
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        all.push(held(&store, name).await);
    }
    let with_seeds = || all.iter().filter(|it| it.seeds().is_some()).count();
    assert_eq!(with_seeds(), 2);
    store.inner.apply(Changes::Unknown(Seq(7)));
    assert_eq!(with_seeds(), 0);
}

#[tokio::test]
async fn disabled_and_expired_identities_are_remembered_without_seeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let id = store.create(new("off"), NOW).await.unwrap().id;
    store.update(id, disabling(), NOW).await.unwrap();
    let mut late = new("late");
    late.terms.expires = Some(NOW);
    store.create(late, NOW).await.unwrap();
    for name in ["off", "late"] {
        assert!(
            held(&store, name)
                .await
                .seeds()
                .unwrap()
                .present()
                .is_none()
        );
        // An administrator who changes the identity still gets its seed.
        let read = store.identity(principal(name).as_ref()).await.unwrap();
        assert!(read.unwrap().seed().is_some());
    }
}

#[tokio::test]
async fn seed_leaves_memory_when_its_grace_or_its_term_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let soon = UnixTime::from_secs(memory::now().as_secs() + 6);
    let id = store.create(new("rotated"), NOW).await.unwrap().id;
    let change = Change {
        seed: Some(Seed::generate().unwrap()),
        grace: Some(soon),
        ..Change::default()
    };
    store.update(id, change, NOW).await.unwrap();
    let mut short = new("short");
    short.terms.expires = Some(soon);
    store.create(short, NOW).await.unwrap();
    let (rotated, short) = (held(&store, "rotated").await, held(&store, "short").await);
    assert!(rotated.previous_until().is_some() && short.seed().is_some());
    until("both ends", async || {
        rotated.seeds().is_none() && short.seeds().is_none()
    })
    .await;
    let rotated = held(&store, "rotated").await.seeds().unwrap();
    assert!(rotated.present().is_some() && rotated.replaced().is_none());
    assert!(
        held(&store, "short")
            .await
            .seeds()
            .unwrap()
            .present()
            .is_none()
    );
}

#[tokio::test]
async fn change_and_deletion_return_the_principal_at_that_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let id = store.create(new("a"), NOW).await.unwrap().id;
    let rename = |name: &str| Change {
        name: Some(name.into()),
        ..Change::default()
    };
    for (was, is) in [("a", "b"), ("b", "c")] {
        let changed = store.update(id, rename(is), NOW).await.unwrap().unwrap();
        assert_eq!(
            (changed.was, &changed.identity.principal),
            (principal(was), &principal(is))
        );
    }
    let deleted = store.delete(id, None).await.unwrap().unwrap();
    assert_eq!(deleted.principal, Some(principal("c")));
    assert_eq!(store.delete(id, None).await.unwrap(), None);
    assert!(store.update(id, rename("d"), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn row_that_is_no_identity_is_an_error_but_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    for name in ["good", "odd"] {
        store.create(new(name), NOW).await.unwrap();
    }
    let database = rusqlite::Connection::open(dir.path().join("r.db")).unwrap();
    let set = database.pragma_update(None, "ignore_check_constraints", true);
    set.unwrap();
    let garble = "UPDATE identity SET algorithm = 'none' WHERE name = 'odd'";
    assert_eq!(database.execute(garble, ()).unwrap(), 1);
    let odd = principal("odd");
    until("the change", async || {
        let read = store.identity(odd.as_ref()).await;
        matches!(read, Err(StoreError::Row(_)))
    })
    .await;
    assert!(matches!(store.recall(odd.as_ref()), Recall::Nothing));
    assert!(!store.is_failing());
}

/// Overwrites the database file, as a failing disk would.
fn destroy(dir: &Path) {
    for name in ["r.db", "r.db-wal", "r.db-shm"] {
        let path = dir.join(name);
        let length = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
        // Never truncated: a connection that opens an empty database deletes the log.
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &vec![0xff; length]).unwrap();
    }
}

#[tokio::test]
async fn long_list_waits_for_the_one_before_it_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()), Intent::Begin).await.unwrap();
    let alice = store.create(new("alice"), NOW).await.unwrap();
    let before = store.inner.listing.acquire().await.unwrap();
    let selection = Selection::default();
    let list = |limit| store.identities(&selection, IdentityId(i64::MIN), limit);
    let mut long = list(1000);
    assert!((&mut long).now_or_never().is_none());
    assert_eq!(list(999).await.unwrap().identities.len(), 1);
    let who = alice.principal.as_ref();
    assert!(store.identity(who).await.unwrap().is_some());
    drop(before);
    assert_eq!(long.await.unwrap().identities.len(), 1);
}

#[tokio::test]
async fn while_the_database_is_broken_only_cached_names_count_whether_they_exist_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.cache.stale_if_error = Duration::from_secs(5);
    options.cache.ttl = Duration::from_millis(500);
    options.cache.unknown_ttl = Duration::from_millis(500);
    let store = open(options, Intent::Begin).await.unwrap();
    let alice = store.create(new("alice"), NOW).await.unwrap();
    let alice = alice.principal.as_ref();
    assert!(store.identity(alice).await.unwrap().is_some());
    let nobody = principal("nobody");
    let nobody = nobody.as_ref();
    assert!(store.identity(nobody).await.unwrap().is_none());
    assert!(!store.is_failing());

    destroy(dir.path());
    let stranger = principal("stranger");
    assert!(store.identity(stranger.as_ref()).await.is_err());
    assert!(store.is_failing());
    assert!(store.identity(alice).await.unwrap().is_some());
    assert!(store.identity(nobody).await.unwrap().is_none());
    until("stale_if_error ends", async || {
        store.identity(alice).await.is_err()
    })
    .await;
    assert!(store.identity(nobody).await.is_err());
    for who in [alice, nobody] {
        assert!(matches!(store.recall(who), Recall::Nothing));
    }
}
