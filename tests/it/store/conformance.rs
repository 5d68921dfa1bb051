//! Tests of the contract of the store's trait, run with each database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use realmgate::auth::{
    Administration, Change, ChangeError, ChangeLog, ChangesAfter, Condition, Counters, Created,
    Creation, Deleted, Identities, Identity, IdentityId, Imported, ImportedIdentity, Listing,
    NewIdentity, Node, NodeId, Nodes, Once, Order, Parameters, Principal, REMEMBERED, RealmCount,
    RealmTotals, Recall, Scope, Seed, Selection, Session, SessionId, SessionKind, Sessions, State,
    Step, Store, Sweep, Terms, ThrottleRecord, UnixTime, UsageBatch, Use,
};
use realmgate::store::{
    Backend, CacheOptions, Cached, Intent, KeySource, Options, Sealing, Server, open,
};
use tempfile::TempDir;

use crate::harness::postgres::{new_schema, sql_in_schema};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// The time within which a change must be visible, with a margin for a busy machine.
const FELT_WITHIN: Duration = Duration::from_secs(30);

/// A database opened by several stores, like processes.
struct Scene {
    folder: TempDir,
    database: Backend,
}

impl Scene {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.db");
        let database = Backend::Sqlite { path, readers: 2 };
        Self { folder, database }
    }

    fn postgres() -> Self {
        let (url, schema) = new_schema();
        let mut server = Server::parse(&url).unwrap();
        server.schema = Some(schema.into());
        server.node = "here".into();
        Self {
            folder: tempfile::tempdir().unwrap(),
            database: Backend::Postgres(Box::new(server)),
        }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("r.key")
    }

    fn options(&self) -> Options {
        Options {
            database: self.database.clone(),
            key: KeySource::File(self.key()),
            timeout: Duration::from_secs(5),
            cache: CacheOptions::default(),
        }
    }

    /// Makes the schema that of before the migration for lists.
    async fn downgrade(&self) {
        match &self.database {
            Backend::Sqlite { path, .. } => {
                let database = rusqlite::Connection::open(path).unwrap();
                let sql = "DROP TRIGGER identity_revised; DROP TRIGGER identity_use_begins; DROP TRIGGER identity_used;
                    DROP TRIGGER realm_counted_insert; DROP TRIGGER realm_counted_delete;
                    DROP TRIGGER realm_counted_update; DROP TRIGGER seed_counted_insert;
                    DROP TRIGGER seed_counted_delete; DROP TRIGGER seed_counted_update;
                    DROP TABLE realm_count; DROP TABLE seed_count;
                    DROP INDEX identity_weak; DROP INDEX identity_by_end;
                    DROP INDEX identity_by_use; DROP INDEX identity_with_drift;
                    ALTER TABLE identity DROP COLUMN ends;
                    ALTER TABLE identity_use DROP COLUMN day;
                    DELETE FROM identity_use WHERE used = 0;
                    PRAGMA user_version = 8;";
                database.execute_batch(sql).unwrap();
            }
            Backend::Postgres(server) => {
                let sql = "DROP FUNCTION identity_use_begins, identity_used, identity_added,
                        identity_removed, identity_recounted, identity_revised, change_next CASCADE;
                    ALTER TABLE identity DROP CONSTRAINT identity_name,
                        DROP CONSTRAINT identity_realm;
                    ALTER TABLE change DROP CONSTRAINT change_seq;
                    DROP TABLE realm_count, seed_count, node;
                    DROP INDEX identity_weak, identity_by_end, identity_with_drift;
                    ALTER TABLE identity_use DROP COLUMN day;
                    ALTER TABLE identity_use ADD PRIMARY KEY (identity);
                    DROP INDEX identity_narrow;
                    DROP INDEX identity_by_name;
                    CREATE INDEX identity_by_name ON identity (name);
                    DELETE FROM identity_use WHERE used = 0;
                    DELETE FROM realmgate_schema; INSERT INTO realmgate_schema VALUES (4)";
                let schema = server.schema.clone().unwrap();
                tokio::task::spawn_blocking(move || sql_in_schema(&schema, sql))
                    .await
                    .unwrap();
            }
        }
    }

    /// Runs statements as somebody with an SQL shell would.
    async fn sql(&self, sql: &str) {
        match &self.database {
            Backend::Sqlite { path, .. } => {
                let database = rusqlite::Connection::open(path).unwrap();
                database.execute_batch(sql).unwrap();
            }
            Backend::Postgres(server) => {
                let (schema, sql) = (server.schema.clone().unwrap(), sql.to_owned());
                tokio::task::spawn_blocking(move || sql_in_schema(&schema, &sql))
                    .await
                    .unwrap();
            }
        }
    }

    async fn open(&self) -> Arc<Cached> {
        open(self.options(), Intent::Begin).await.unwrap()
    }
}

/// Defines each test for each database.
macro_rules! on_each {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Scene::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Scene::postgres()).await;
            })+
        }
    };
}

on_each! {
    created_identity_is_read_back,
    taken_principal_is_rejected_and_changes_nothing,
    change_takes_effect_in_another_process,
    rename_keeps_the_seed,
    grace_keeps_the_old_seed_until_it_ends,
    deleted_identity_is_gone,
    version_rises_with_each_change_and_stale_ones_are_rejected,
    change_with_sql_raises_the_version_and_ends_sessions,
    seed_that_is_encrypted_again_is_no_change,
    used_steps_that_cannot_be_read_are_reset_with_the_failures,
    seeds_say_when_they_were_made,
    many_are_created_in_one_transaction_and_a_repeated_request_creates_none,
    realms_are_counted_page_by_page,
    changes_are_read_from_any_position,
    disabled_identities_are_selected,
    pages_are_in_order_and_selected_by_bytes,
    lists_are_sorted_and_filtered_page_by_page,
    list_ends_a_page_after_a_bounded_search,
    counts_follow_each_change,
    older_schema_is_upgraded,
    numbers_rise_and_reserved_ones_are_left_out,
    import_keeps_numbers_and_leaves_who_is_there,
    step_is_used_once_under_concurrency,
    failures_of_processes_add_up,
    replaced_failures_do_not_add_up,
    failures_that_are_not_needed_are_deleted,
    uses_are_saved,
    sessions_end_with_their_identity_and_make_room_for_new_ones,
    node_that_serves_is_listed_until_its_store_is_closed,
    first_starts_at_once_make_one_database,
    database_that_is_missing_is_not_made_by_reading,
    key_that_does_not_fit_stops_the_start,
}

fn principal(name: &str) -> Principal {
    Principal::new(name, "r", 128).unwrap()
}

fn deleted(name: &str) -> Option<Deleted> {
    let principal = Some(principal(name));
    Some(Deleted { principal })
}

fn new(name: &str) -> NewIdentity {
    NewIdentity {
        principal: principal(name),
        seed: Seed::generate().unwrap(),
        parameters: Parameters::default(),
        terms: Terms::default(),
    }
}

fn imported(name: &str, id: Option<i64>) -> ImportedIdentity {
    ImportedIdentity {
        id: id.map(IdentityId),
        principal: principal(name),
        seed: Seed::generate().unwrap(),
        parameters: Parameters::default(),
        state: State::Enabled,
        terms: Terms::default(),
        created: NOW,
    }
}

async fn read(store: &Cached, name: &str) -> Option<Arc<Identity>> {
    store.identity(principal(name).as_ref()).await.unwrap()
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

async fn created_identity_is_read_back(scene: &Scene) {
    let store = scene.open().await;
    let mut alice = new("alice@\u{e9}\u{1}");
    alice.terms = Terms {
        not_before: Some(UnixTime::from_secs(1)),
        expires: Some(UnixTime::from_secs(4_000_000_000)),
        comment: Some("a 'comment' with \\ and \u{1F600}".into()),
    };
    let (seed, terms) = (alice.seed.clone(), alice.terms.clone());
    let created = store.create(alice, NOW).await.unwrap();
    let who = created.principal.as_ref();
    let read = store.identity(who).await.unwrap().unwrap();
    assert_eq!((read.id, read.seed()), (created.id, Some(seed)));
    assert_eq!(*read.terms(), terms);
    assert_eq!(
        (read.created, read.updated, read.state),
        (NOW, NOW, State::Enabled)
    );
    assert!(matches!(store.recall(who), Recall::Known(_)));
    let by_id = store.identity_by_id(created.id).await.unwrap().unwrap();
    assert_eq!(by_id.principal, created.principal);
    let none = store.identity_by_id(IdentityId(created.id.0 + 1)).await;
    assert!(none.unwrap().is_none());
    store.ping().await.unwrap();
}

async fn taken_principal_is_rejected_and_changes_nothing(scene: &Scene) {
    let store = scene.open().await;
    let seed = store.create(new("a"), NOW).await.unwrap().seed();
    let b = store.create(new("b"), NOW).await.unwrap();
    let taken = store.create(new("a"), NOW).await;
    assert!(matches!(taken, Err(ChangeError::Taken)));
    let change = Change {
        name: Some("a".into()),
        state: Some(State::Disabled),
        ..Change::default()
    };
    let taken = store.update(b.id, change, NOW).await;
    assert!(matches!(taken, Err(ChangeError::Taken)));
    assert_eq!(read(&store, "a").await.unwrap().seed(), seed);
    assert_eq!(read(&store, "b").await.unwrap().state, State::Enabled);
    // Case and composition matter.
    store.create(new("A"), NOW).await.unwrap();
    store.create(new("e\u{301}"), NOW).await.unwrap();
    store.create(new("\u{e9}"), NOW).await.unwrap();
}

async fn change_takes_effect_in_another_process(scene: &Scene) {
    let (here, there) = (scene.open().await, scene.open().await);
    let who = principal("a");
    let who = who.as_ref();
    assert!(here.identity(who).await.unwrap().is_none());
    assert!(matches!(here.recall(who), Recall::Unknown));
    let id = there.create(new("a"), NOW).await.unwrap().id;
    until("creation", async || {
        here.identity(who).await.unwrap().is_some()
    })
    .await;
    until("memory", async || {
        here.identity(who).await.unwrap();
        matches!(here.recall(who), Recall::Known(_))
    })
    .await;
    let change = Change {
        state: Some(State::Disabled),
        ..Change::default()
    };
    there.update(id, change, NOW).await.unwrap();
    until("disabling", async || {
        let read = here.identity(who).await.unwrap();
        read.is_some_and(|it| it.state == State::Disabled)
    })
    .await;
    until("disabling in memory", async || match here.recall(who) {
        Recall::Known(identity) => identity.state == State::Disabled,
        _ => true,
    })
    .await;
    there.delete(id, None).await.unwrap();
    until("deletion", async || {
        !matches!(here.recall(who), Recall::Known(_))
    })
    .await;
    assert!(here.identity(who).await.unwrap().is_none());
}

async fn rename_keeps_the_seed(scene: &Scene) {
    let store = scene.open().await;
    let new = new("a");
    let seed = new.seed.clone();
    let id = store.create(new, NOW).await.unwrap().id;
    let change = Change {
        name: Some("b".into()),
        realm: Some("other".into()),
        ..Change::default()
    };
    let later = UnixTime::from_secs(NOW.as_secs() + 5);
    let changed = store.update(id, change, later).await.unwrap().unwrap();
    assert_eq!(changed.was, principal("a"));
    assert_eq!(changed.identity.seed(), Some(seed));
    assert_eq!(
        (changed.identity.created, changed.identity.updated),
        (NOW, later)
    );
    assert!(read(&store, "a").await.is_none());
    let renamed = Principal::new("b", "other", 128).unwrap();
    assert_eq!(
        store.identity(renamed.as_ref()).await.unwrap().unwrap().id,
        id
    );
    assert!(
        store
            .update(IdentityId(99), Change::default(), NOW)
            .await
            .unwrap()
            .is_none()
    );
}

async fn grace_keeps_the_old_seed_until_it_ends(scene: &Scene) {
    let store = scene.open().await;
    let new = new("a");
    let first = new.seed.clone();
    let id = store.create(new, NOW).await.unwrap().id;
    let rotate = |grace| Change {
        seed: Some(Seed::generate().unwrap()),
        grace,
        ..Change::default()
    };
    let until = UnixTime::from_secs(NOW.as_secs() + 60);
    let changed = store
        .update(id, rotate(Some(until)), NOW)
        .await
        .unwrap()
        .unwrap();
    let seeds = changed.identity.seeds().unwrap();
    let previous = seeds.replaced().unwrap();
    assert_eq!((previous.totp.seed(), previous.until), (first, until));
    let changed = store.update(id, rotate(None), NOW).await.unwrap().unwrap();
    assert!(changed.identity.seeds().unwrap().replaced().is_none());
}

async fn deleted_identity_is_gone(scene: &Scene) {
    let store = scene.open().await;
    let id = store.create(new("a"), NOW).await.unwrap().id;
    assert!(store.use_step(id, Step(7), 1).await.unwrap());
    assert_eq!(store.delete(id, None).await.unwrap(), deleted("a"));
    assert_eq!(store.delete(id, None).await.unwrap(), None);
    let again = store.create(new("a"), NOW).await.unwrap();
    assert!(again.id > id);
    // The steps used with the old seed are usable again.
    assert!(store.use_step(again.id, Step(7), 1).await.unwrap());
}

async fn version_rises_with_each_change_and_stale_ones_are_rejected(scene: &Scene) {
    let store = scene.open().await;
    let first = store.create(new("a"), NOW).await.unwrap();
    let expecting = |version| Change {
        state: Some(State::Disabled),
        expected: Some(version),
        ..Change::default()
    };
    let version = first.history.version;
    let changed = store.update(first.id, expecting(version), NOW).await;
    let second = changed.unwrap().unwrap().identity.history.version;
    assert_ne!(version, second);
    let stale = store.update(first.id, expecting(version), NOW).await;
    assert!(matches!(stale, Err(ChangeError::Stale)), "{stale:?}");
    let stale = store.delete(first.id, Some(version)).await;
    assert!(matches!(stale, Err(ChangeError::Stale)), "{stale:?}");
    let here = store.identity_by_id(first.id).await.unwrap().unwrap();
    assert_eq!(here.history.version, second);
    let gone = store.delete(first.id, Some(second)).await.unwrap();
    assert_eq!(gone, deleted("a"));
    let gone = store
        .update(first.id, expecting(second), NOW)
        .await
        .unwrap();
    assert!(gone.is_none());
}

async fn seeds_say_when_they_were_made(scene: &Scene) {
    let store = scene.open().await;
    let id = store.create(new("a"), NOW).await.unwrap().id;
    let made = async || {
        let read = store.identity_by_id(id).await.unwrap().unwrap();
        (read.history.seed_made, read.previous_made())
    };
    assert_eq!(made().await, (Some(NOW), None));
    let later = |secs| UnixTime::from_secs(NOW.as_secs() + secs);
    let rotate = |grace| Change {
        seed: Some(Seed::generate().unwrap()),
        grace,
        ..Change::default()
    };
    let renamed = Change {
        name: Some("b".into()),
        ..Change::default()
    };
    store.update(id, renamed, later(5)).await.unwrap();
    assert_eq!(made().await, (Some(NOW), None));
    let grace = Some(later(1000));
    store.update(id, rotate(grace), later(10)).await.unwrap();
    assert_eq!(made().await, (Some(later(10)), Some(NOW)));
    store.update(id, rotate(None), later(20)).await.unwrap();
    assert_eq!(made().await, (Some(later(20)), None));
}

async fn many_are_created_in_one_transaction_and_a_repeated_request_creates_none(scene: &Scene) {
    let store = scene.open().await;
    let once = |key: u8, content: u8| Once {
        key: [key; 32],
        content: [content; 32],
    };
    let one = |name: &str, once| Creation {
        new: new(name),
        once,
    };
    let kinds = |created: &[Created]| -> Vec<&str> {
        let kind = |it: &Created| match it {
            Created::New(_) => "new",
            Created::Before(_) => "before",
            Created::Deleted => "deleted",
            Created::OtherContent => "other",
            Created::Taken => "taken",
        };
        created.iter().map(kind).collect()
    };
    store.create(new("taken"), NOW).await.unwrap();
    let creations = vec![
        one("a", Some(once(1, 1))),
        one("taken", None),
        one("b", None),
        one("b", None),
    ];
    let created = store.create_all(creations, NOW).await.unwrap();
    assert_eq!(kinds(&created), ["new", "taken", "new", "taken"]);
    let Created::New(a) = &created[0] else {
        panic!()
    };
    // What was returned is what was stored.
    let stored = store.identity_by_id(a.id).await.unwrap().unwrap();
    assert_eq!(stored.principal, a.principal);
    assert_eq!(stored.history, a.history);
    assert_eq!((stored.created, stored.updated), (a.created, a.updated));
    let seed = |it: &Identity| it.seed().unwrap().to_base32();
    assert_eq!(seed(&stored), seed(a));
    assert_eq!(read(&store, "a").await.unwrap().id, a.id);
    let again = vec![one("a", Some(once(1, 1))), one("a", Some(once(1, 2)))];
    let again = scene.open().await.create_all(again, NOW).await.unwrap();
    assert_eq!(kinds(&again), ["before", "other"]);
    let Created::Before(before) = &again[0] else {
        panic!()
    };
    assert_eq!((before.id, seed(before)), (a.id, seed(a)));
    store.delete(a.id, None).await.unwrap();
    let again = vec![one("a", Some(once(1, 1)))];
    let again = store.create_all(again, NOW).await.unwrap();
    assert_eq!(kinds(&again), ["deleted"]);
    // A day later, the key is free.
    let later = UnixTime::from_secs(NOW.as_secs() + REMEMBERED + 1);
    let again = vec![one("a", Some(once(1, 1)))];
    let again = store.create_all(again, later).await.unwrap();
    assert_eq!(kinds(&again), ["new"]);
    assert!(store.create_all(Vec::new(), NOW).await.unwrap().is_empty());
}

async fn realms_are_counted_page_by_page(scene: &Scene) {
    let store = scene.open().await;
    for (name, realm) in [("a", "x"), ("b", "x"), ("a", "y"), ("a", "\u{e9}")] {
        let principal = Principal::new(name, realm, 128).unwrap();
        let id = store
            .create(
                NewIdentity {
                    principal,
                    ..new(name)
                },
                NOW,
            )
            .await
            .unwrap()
            .id;
        if (name, realm) == ("b", "x") {
            store.update(id, disabling(), NOW).await.unwrap();
        }
    }
    let counts = async |after: &str, limit| {
        let realms = store.realms(after, limit).await.unwrap();
        let count = |it: &RealmCount| (it.realm.to_string(), it.identities, it.disabled);
        realms.iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(
        counts("", 2).await,
        [("x".into(), 2, 1), ("y".into(), 1, 0)]
    );
    assert_eq!(counts("y", 2).await, [("\u{e9}".into(), 1, 0)]);
    assert_eq!(counts("\u{e9}", 2).await, []);
    let totals = RealmTotals {
        realms: 3,
        identities: 4,
        disabled: 1,
    };
    assert_eq!(store.totals().await.unwrap(), totals);
}

async fn changes_are_read_from_any_position(scene: &Scene) {
    let store = scene.open().await;
    let start = store.changes(0, 1000).await.unwrap().last;
    for name in ["a", "b", "c"] {
        store.create(new(name), NOW).await.unwrap();
    }
    let names = |changes: &ChangesAfter| -> Vec<String> {
        let names = changes.changed.iter().flatten();
        names.map(|it| it.name().to_owned()).collect()
    };
    let first = store.changes(start, 2).await.unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    let rest = store.changes(first.last, 2).await.unwrap();
    assert_eq!(names(&rest), ["c"]);
    let none = store.changes(rest.last, 2).await.unwrap();
    assert_eq!(none.changed, Some(Vec::new()));
    assert_eq!(none.last, rest.last);
    let ahead = store.changes(rest.last + 10, 2).await.unwrap();
    assert_eq!((ahead.changed, ahead.last), (None, rest.last));
    let deadline = tokio::time::Instant::now() + FELT_WITHIN;
    while store.position() != rest.last {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            store.position()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn disabling() -> Change {
    Change {
        state: Some(State::Disabled),
        ..Change::default()
    }
}

async fn disabled_identities_are_selected(scene: &Scene) {
    let store = scene.open().await;
    for name in ["a", "ab", "b"] {
        let id = store.create(new(name), NOW).await.unwrap().id;
        if name != "a" {
            store.update(id, disabling(), NOW).await.unwrap();
        }
    }
    let names = async |realm: Option<&str>, name: Option<&str>, state| {
        let selection = Selection {
            realm: realm.map(Into::into),
            name: name.map(Into::into),
            state: Some(state),
        };
        let page = store.identities(&selection, IdentityId(i64::MIN), 10).await;
        let names = page.unwrap().identities.into_iter();
        names
            .map(|it| it.principal.name().to_owned())
            .collect::<Vec<_>>()
    };
    for realm in [None, Some("r")] {
        assert_eq!(names(realm, None, State::Disabled).await, ["ab", "b"]);
        assert_eq!(names(realm, None, State::Enabled).await, ["a"]);
        assert_eq!(names(realm, Some("a"), State::Disabled).await, ["ab"]);
    }
    assert!(names(Some("other"), None, State::Disabled).await.is_empty());
}

async fn pages_are_in_order_and_selected_by_bytes(scene: &Scene) {
    let store = scene.open().await;
    for name in [
        "b",
        "a",
        "ab",
        "aB",
        "a\u{e9}",
        "a%",
        "a_b",
        "A",
        "a\u{10ffff}",
    ] {
        store.create(new(name), NOW).await.unwrap();
    }
    let names = async |realm: Option<&str>, name: Option<&str>, after: i64, limit| {
        let selection = Selection {
            realm: realm.map(Into::into),
            name: name.map(Into::into),
            ..Selection::default()
        };
        let page = store.identities(&selection, IdentityId(after), limit).await;
        let page = page.unwrap().identities;
        assert!(page.is_sorted_by_key(|it| it.id));
        page.iter()
            .map(|it| it.principal.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None, None, i64::MIN, 3).await, ["b", "a", "ab"]);
    let all = ["a", "ab", "aB", "a\u{e9}", "a%", "a_b", "a\u{10ffff}"];
    let found = names(Some("r"), Some("a"), i64::MIN, 100).await;
    assert!(
        all.iter()
            .take(6)
            .all(|it| found.iter().any(|found| found == it)),
        "{found:?}"
    );
    assert!(!found.iter().any(|it| it == "A" || it == "b"));
    assert_eq!(names(None, Some("a%"), i64::MIN, 100).await, ["a%"]);
    assert_eq!(names(None, Some("a_"), i64::MIN, 100).await, ["a_b"]);
    assert_eq!(names(Some("x"), None, i64::MIN, 100).await, [""; 0]);
    let first = store
        .identities(&Selection::default(), IdentityId(i64::MIN), 1)
        .await
        .unwrap();
    let first = first.identities[0].id.0;
    assert_eq!(names(Some("r"), None, first, 2).await, ["a", "ab"]);
}

const DAY: u64 = 86_400;

fn at_day(day: u64) -> UnixTime {
    UnixTime::from_secs(day * DAY + 100)
}

fn listing(order: Order, limit: u32) -> Listing {
    Listing {
        selection: Selection::default(),
        condition: None,
        order,
        is_descending: false,
        after: None,
        limit,
        now: at_day(20_000),
    }
}

/// Reads all pages of a list, and returns the names.
async fn listed(store: &Cached, mut listing: Listing) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let page = store.list(&listing).await.unwrap();
        assert!(page.identities.len() <= listing.limit as usize);
        names.extend(
            page.identities
                .iter()
                .map(|it| it.principal.name().to_owned()),
        );
        listing.after = page.next;
        if listing.after.is_none() {
            return names;
        }
    }
}

async fn lists_are_sorted_and_filtered_page_by_page(scene: &Scene) {
    let store = scene.open().await;
    let now = at_day(20_000);
    // Name, realm, day of creation, day of the last use, days until the end, drift, bytes of the seed.
    let rows = [
        ("b", "y", 19_000, Some(19_999), Some(10), 1, 20),
        ("a", "x", 19_000, Some(19_500), None, 0, 20),
        ("ab", "x", 19_000, None, Some(100), 0, 10),
        ("b", "x", 19_990, None, Some(-5), 0, 20),
        ("c", "y", 19_000, Some(19_910), None, 0, 20),
        ("d", "y", 19_000, Some(19_909), Some(29), -1, 10),
        ("off", "x", 19_000, None, Some(3), 0, 10),
    ];
    let mut uses = Vec::new();
    for (name, realm, created, used, ends, drift, bytes) in rows {
        let expires = ends.map(|days: i64| at_day(20_000_u64.saturating_add_signed(days)));
        let new = ImportedIdentity {
            id: None,
            principal: Principal::new(name, realm, 128).unwrap(),
            seed: Seed::from_bytes(&vec![7; bytes]).unwrap(),
            parameters: Parameters::default(),
            state: if name == "off" {
                State::Disabled
            } else {
                State::Enabled
            },
            terms: Terms {
                expires,
                ..Terms::default()
            },
            created: at_day(created),
        };
        let imported = store.import(vec![new], now).await.unwrap();
        let Imported::Under(id) = imported[0] else {
            panic!("{imported:?}");
        };
        uses.extend(used.map(|day| Use {
            id,
            used: at_day(day),
            drift,
            is_of_previous: false,
        }));
    }
    let batch = UsageBatch {
        uses,
        ..UsageBatch::default()
    };
    store.save(batch).await.unwrap();
    for (order, expected) in [
        (Order::Id, ["b", "a", "ab", "b", "c", "d", "off"]),
        (Order::Name, ["a", "ab", "b", "b", "c", "d", "off"]),
        (Order::Realm, ["a", "ab", "b", "off", "b", "c", "d"]),
        (Order::LastUsed, ["ab", "off", "a", "d", "c", "b", "b"]),
        (Order::Expires, ["b", "off", "b", "d", "ab", "a", "c"]),
    ] {
        for limit in [1, 2, 100] {
            let mut listing = listing(order, limit);
            assert_eq!(listed(&store, listing.clone()).await, expected, "{order:?}");
            listing.is_descending = true;
            let mut reversed = expected;
            reversed.reverse();
            assert_eq!(listed(&store, listing).await, reversed, "{order:?}");
        }
    }
    // Each filter, alone and together, in each order.
    type Filter = fn(&mut Listing);
    let filters: [(Filter, &[&str]); 10] = [
        (
            |it| it.selection.realm = Some("x".into()),
            &["a", "ab", "b", "off"],
        ),
        (|it| it.selection.name = Some("a".into()), &["a", "ab"]),
        (|it| it.selection.state = Some(State::Disabled), &["off"]),
        (
            |it| it.selection.state = Some(State::Enabled),
            &["a", "ab", "b", "b", "c", "d"],
        ),
        (|it| it.condition = Some(Condition::Expiring), &["b", "d"]),
        (
            |it| it.condition = Some(Condition::Unused),
            &["a", "ab", "d"],
        ),
        (|it| it.condition = Some(Condition::Weak), &["ab", "d"]),
        (|it| it.condition = Some(Condition::ClockOff), &["b", "d"]),
        (
            |it| {
                it.condition = Some(Condition::Weak);
                it.selection.realm = Some("x".into());
                it.selection.name = Some("a".into());
                it.selection.state = Some(State::Enabled);
            },
            &["ab"],
        ),
        (
            |it| {
                it.condition = Some(Condition::Weak);
                it.selection.state = Some(State::Disabled);
            },
            &[],
        ),
    ];
    for order in Order::ALL {
        for (at, (filter, expected)) in filters.iter().enumerate() {
            for (limit, is_descending) in [(1, false), (2, true), (100, false)] {
                let mut listing = listing(order, limit);
                listing.is_descending = is_descending;
                filter(&mut listing);
                let mut names = listed(&store, listing).await;
                names.sort();
                assert_eq!(names, *expected, "{order:?}, filter {at}, {limit}");
            }
        }
    }
    for (condition, count) in [
        (Condition::Expiring, 2),
        (Condition::Unused, 3),
        (Condition::Weak, 2),
        (Condition::ClockOff, 2),
    ] {
        let tally = store.count(condition, now).await.unwrap();
        assert_eq!(
            (tally.count, tally.is_at_least),
            (count, false),
            "{condition:?}"
        );
    }
}

async fn list_ends_a_page_after_a_bounded_search(scene: &Scene) {
    let store = scene.open().await;
    // More than are sorted, so that they are looked for in the order of their names.
    let many = |realm: &str, letter: char, count: usize| -> Vec<Creation> {
        let new = |n| Creation {
            new: NewIdentity {
                principal: Principal::new(&format!("{letter}{n:05}"), realm, 128).unwrap(),
                ..new("any")
            },
            once: None,
        };
        (0..count).map(new).collect()
    };
    for (realm, letter, count) in [("first", 'a', 10_001), ("last", 'z', 5_001)] {
        let mut all = many(realm, letter, count);
        while !all.is_empty() {
            let rest = all.split_off(all.len().min(1000));
            store.create_all(all, NOW).await.unwrap();
            all = rest;
        }
    }
    let mut listing = listing(Order::Name, 100);
    listing.selection.realm = Some("last".into());
    let page = store.list(&listing).await.unwrap();
    assert_eq!(page.identities.len(), 0);
    assert!(page.next.is_some());
    let names = listed(&store, listing.clone()).await;
    assert_eq!(names.len(), 5_001);
    assert!(names.is_sorted());
    listing.is_descending = true;
    let page = store.list(&listing).await.unwrap();
    assert_eq!(page.identities.len(), 100);
}

async fn counts_follow_each_change(scene: &Scene) {
    let store = scene.open().await;
    let realms = async || -> Vec<(String, u64, u64)> {
        let realms = store.realms("", 10).await.unwrap();
        let one = |it: &RealmCount| (it.realm.to_string(), it.identities, it.disabled);
        realms.iter().map(one).collect()
    };
    let options = scene.options();
    let seeds = async || {
        let options = options.clone();
        let count = move || {
            let keys = Sealing::open(&options, Intent::Read).unwrap().keys();
            keys.unwrap().iter().map(|key| key.seeds).sum::<u64>()
        };
        tokio::task::spawn_blocking(count).await.unwrap()
    };
    let id = store.create(new("a"), NOW).await.unwrap().id;
    store.create(new("b"), NOW).await.unwrap();
    assert_eq!(realms().await, [("r".to_owned(), 2, 0)]);
    assert_eq!(seeds().await, 2);
    store.update(id, disabling(), NOW).await.unwrap();
    assert_eq!(realms().await, [("r".to_owned(), 2, 1)]);
    let change = Change {
        realm: Some("s".into()),
        seed: Some(Seed::generate().unwrap()),
        grace: Some(at_day(30_000)),
        ..Change::default()
    };
    store.update(id, change, NOW).await.unwrap();
    let expected = [("r".to_owned(), 1, 0), ("s".to_owned(), 1, 1)];
    assert_eq!(realms().await, expected);
    assert_eq!(seeds().await, 3);
    store.delete(id, None).await.unwrap();
    assert_eq!(realms().await, [("r".to_owned(), 1, 0)]);
    assert_eq!(seeds().await, 1);
}

/// Removes what the last migration has added, and reads the database again.
async fn older_schema_is_upgraded(scene: &Scene) {
    let store = scene.open().await;
    let now = at_day(20_000);
    let id = store.create(new("a"), at_day(19_000)).await.unwrap().id;
    store.create(new("b"), at_day(19_950)).await.unwrap();
    store.create(new("c"), at_day(19_000)).await.unwrap();
    let used = Use {
        id,
        used: at_day(19_999),
        drift: 1,
        is_of_previous: false,
    };
    let batch = UsageBatch {
        uses: vec![used],
        ..UsageBatch::default()
    };
    store.save(batch).await.unwrap();
    store.checkpoint().await;
    drop(store);
    scene.downgrade().await;
    if let Backend::Postgres(_) = scene.database {
        for intent in [Intent::Read, Intent::Change] {
            let Err(error) = open(scene.options(), intent).await else {
                panic!("it opened");
            };
            let expected = "of an earlier version; `realmgate serve` or `realmgate init`";
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
    let store = scene.open().await;
    let realms = store.realms("", 10).await.unwrap();
    assert_eq!((&*realms[0].realm, realms[0].identities), ("r", 3));
    assert_eq!(
        listed(&store, listing(Order::LastUsed, 2)).await,
        ["c", "b", "a"]
    );
    let tally = store.count(Condition::Unused, now).await.unwrap();
    assert_eq!(tally.count, 1);
    let tally = store.count(Condition::ClockOff, now).await.unwrap();
    assert_eq!(tally.count, 1);
    store.create(new("d"), now).await.unwrap();
    assert_eq!(store.realms("", 10).await.unwrap()[0].identities, 4);
}

async fn numbers_rise_and_reserved_ones_are_left_out(scene: &Scene) {
    let store = scene.open().await;
    let first = store.create(new("a"), NOW).await.unwrap().id;
    store.reserve(IdentityId(100)).await.unwrap();
    let second = store.create(new("b"), NOW).await.unwrap().id;
    assert_eq!(second, IdentityId(101));
    // Positions never decrease.
    store.reserve(IdentityId(50)).await.unwrap();
    let third = store.create(new("c"), NOW).await.unwrap().id;
    assert!(first < second && second < third);
}

async fn import_keeps_numbers_and_leaves_who_is_there(scene: &Scene) {
    let store = scene.open().await;
    let here = store.create(new("here"), NOW).await.unwrap();
    let batch = vec![
        imported("seven", Some(70)),
        imported("here", Some(71)),
        imported("no-number", None),
        imported("number-of-another", Some(here.id.0)),
    ];
    let seed = batch[0].seed.clone();
    let outcomes = store.import(batch, NOW).await.unwrap();
    let [
        Imported::Under(IdentityId(70)),
        Imported::Taken(taken),
        Imported::Under(third),
        Imported::Under(fourth),
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(taken.id, here.id);
    assert!(*third > IdentityId(70) && *fourth > *third);
    assert_eq!(read(&store, "seven").await.unwrap().seed(), Some(seed));
    assert_eq!(read(&store, "here").await.unwrap().seed(), here.seed());
    let later = store.create(new("later"), NOW).await.unwrap();
    assert!(later.id > *fourth);
}

async fn step_is_used_once_under_concurrency(scene: &Scene) {
    let (here, there) = (scene.open().await, scene.open().await);
    let id = here.create(new("a"), NOW).await.unwrap().id;
    for step in [100, 101, 200] {
        let tries: Vec<_> = (0..20)
            .map(|n| {
                let store = Arc::clone(if n % 2 == 0 { &here } else { &there });
                tokio::spawn(async move { store.use_step(id, Step(step), 1).await.unwrap() })
            })
            .collect();
        let mut had = 0;
        for one in tries {
            had += usize::from(one.await.unwrap());
        }
        assert_eq!(had, 1, "step {step}");
    }
    assert!(!there.use_step(id, Step(100), 1).await.unwrap());
    assert!(there.use_step(id, Step(150), 1).await.unwrap());
}

fn failure(tag: u8, paid: u64, added: Option<i64>) -> ThrottleRecord {
    ThrottleRecord {
        scope: Scope::Known,
        tag: [tag; 16],
        paid: UnixTime::from_secs(paid),
        added,
        failed: UnixTime::from_secs(1000),
        passed: UnixTime::from_secs(0),
    }
}

fn counts(counts: Vec<ThrottleRecord>) -> UsageBatch {
    UsageBatch {
        counts,
        ..UsageBatch::default()
    }
}

async fn failures_of_processes_add_up(scene: &Scene) {
    let (here, there) = (scene.open().await, scene.open().await);
    let before = here.counts(0).await.unwrap();
    assert_eq!(before.key, there.counts(0).await.unwrap().key);
    here.save(counts(vec![
        failure(1, 1900, Some(900)),
        failure(2, 1900, Some(900)),
    ]))
    .await
    .unwrap();
    there
        .save(counts(vec![failure(1, 1900, Some(900))]))
        .await
        .unwrap();
    let after = here.counts(before.stamp).await.unwrap();
    let paid = |counts: &realmgate::auth::Counts, tag: u8| {
        let found = counts.records.iter().find(|it| it.tag == [tag; 16]);
        found.map(|it| it.paid.as_secs())
    };
    assert_eq!((paid(&after, 1), paid(&after, 2)), (Some(2800), Some(1900)));
    let nothing = here.counts(after.stamp).await.unwrap();
    assert!(nothing.records.is_empty() && nothing.stamp == after.stamp);
    there
        .save(counts(vec![failure(2, 2800, Some(900))]))
        .await
        .unwrap();
    let only = here.counts(after.stamp).await.unwrap();
    assert_eq!((paid(&only, 1), paid(&only, 2)), (None, Some(2800)));
}

async fn replaced_failures_do_not_add_up(scene: &Scene) {
    let store = scene.open().await;
    store
        .save(counts(vec![failure(1, 5000, Some(900))]))
        .await
        .unwrap();
    store.save(counts(vec![failure(1, 0, None)])).await.unwrap();
    let read = store.counts(0).await.unwrap();
    assert_eq!(read.records[0].paid, UnixTime::from_secs(0));
}

async fn sessions_end_with_their_identity_and_make_room_for_new_ones(scene: &Scene) {
    let store = scene.open().await;
    let identity = store.create(new("root"), NOW).await.unwrap();
    let version = identity.history.version;
    let of = |number: u8, made: u64| Session {
        id: SessionId([number; 32]),
        kind: SessionKind::Session,
        identity: identity.id,
        principal: identity.principal.clone(),
        made: UnixTime::from_secs(made),
        seen: UnixTime::from_secs(made),
        source: None,
    };
    let begin = async |number, made| {
        store
            .begin_session(of(number, made), version)
            .await
            .unwrap()
    };
    let now = NOW.as_secs();
    // Those of a process whose clock is ahead.
    for number in 0..16 {
        assert!(begin(number, now + 3600 + u64::from(number)).await);
    }
    assert!(begin(16, now).await);
    let there = async |number| {
        store
            .session(SessionId([number; 32]))
            .await
            .unwrap()
            .is_some()
    };
    assert!(there(16).await, "the new one is not ended");
    assert!(!there(0).await, "the oldest one is");
    assert!(there(1).await && there(15).await);
    assert!(
        store
            .end_session(SessionId([16; 32]))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .end_session(SessionId([16; 32]))
            .await
            .unwrap()
            .is_none()
    );
    let disabled = Change {
        state: Some(State::Disabled),
        ..Change::default()
    };
    store.update(identity.id, disabled, NOW).await.unwrap();
    assert!(!there(15).await);
    assert!(!begin(17, now).await, "of an identity that has changed");
    assert!(!there(17).await);
}

async fn node_that_serves_is_listed_until_its_store_is_closed(scene: &Scene) {
    let store = scene.open().await;
    assert_eq!(store.totals().await.unwrap(), RealmTotals::default());
    assert!(store.nodes().await.unwrap().nodes.is_empty());
    assert!(store.this_node().is_none());
    let mut node = Node {
        id: NodeId::generate().unwrap(),
        name: "here".into(),
        version: "1.2.3".into(),
        started: NOW,
        config: "0123456789abcdef".into(),
        loaded: NOW,
    };
    store.serve_as(node.clone());
    store.create(new("a"), NOW).await.unwrap();
    node.loaded = UnixTime::from_secs(NOW.as_secs() + 1);
    store.serve_as(node.clone());
    let seen = store.nodes().await.unwrap();
    assert_eq!((seen.nodes.len(), seen.total), (1, 1));
    let seen = seen.nodes;
    assert_eq!(seen[0].node, node);
    assert!(!seen[0].is_missing());
    let last = store.changes(0, 1000).await.unwrap().last;
    until("it reflects the change", async || {
        store.this_node().unwrap().position == last
            && store.nodes().await.unwrap().nodes[0].position == last
    })
    .await;
    store.checkpoint().await;
    assert!(store.nodes().await.unwrap().nodes.is_empty());
    let other = scene.open().await;
    assert!(other.nodes().await.unwrap().nodes.is_empty());
}

async fn failures_that_are_not_needed_are_deleted(scene: &Scene) {
    let store = scene.open().await;
    let time = UnixTime::from_secs;
    let of = |tag, failed, passed| ThrottleRecord {
        failed: time(failed),
        passed: time(passed),
        ..failure(tag, 1900, Some(900))
    };
    let tags = async || {
        let records = store.counts(0).await.unwrap().records;
        let mut tags: Vec<_> = records.iter().map(|it| it.tag[0]).collect();
        tags.sort_unstable();
        tags
    };
    let sweep = async |kept| {
        let sweep = Sweep {
            kept,
            forgets: true,
            failed_before: time(2000),
            passed_before: time(3000),
        };
        let batch = UsageBatch {
            sweep: Some(sweep),
            ..UsageBatch::default()
        };
        store.save(batch).await.unwrap();
    };
    for record in [
        of(1, 1999, 2999),
        of(2, 2000, 0),
        of(3, 0, 3000),
        // Taken back, which other processes have to read.
        of(4, 0, 0),
    ] {
        store.save(counts(vec![record])).await.unwrap();
    }
    sweep(100).await;
    assert_eq!(tags().await, [2, 3, 4]);
    for tag in 5..9 {
        store.save(counts(vec![of(tag, 5000, 0)])).await.unwrap();
    }
    // Those that were saved last.
    sweep(2).await;
    assert_eq!(tags().await, [6, 7, 8]);
    // Once every process has read it.
    store.save(counts(vec![of(9, 0, 0)])).await.unwrap();
    for _ in 0..101 {
        store.save(counts(vec![of(10, 5000, 0)])).await.unwrap();
    }
    store.save(counts(vec![of(11, 0, 0)])).await.unwrap();
    sweep(100).await;
    assert_eq!(tags().await, [6, 7, 8, 10, 11]);
}

async fn uses_are_saved(scene: &Scene) {
    let store = scene.open().await;
    let id = store.create(new("a"), NOW).await.unwrap().id;
    let of = |id, is_of_previous| Use {
        id,
        used: NOW,
        drift: -1,
        is_of_previous,
    };
    // Saving a deleted identity has no effect, and does not fail.
    let uses = vec![of(id, false), of(IdentityId(99), false), of(id, true)];
    let batch = UsageBatch {
        uses,
        ..UsageBatch::default()
    };
    store.save(batch).await.unwrap();
    let read = store.identity_by_id(id).await.unwrap().unwrap();
    assert_eq!(
        (read.usage.used(), read.previous_used()),
        (Some(NOW), Some(NOW))
    );
    assert_eq!(read.usage.drift(), -1);
}

async fn first_starts_at_once_make_one_database(scene: &Scene) {
    let opened = (0..10).map(|_| open(scene.options(), Intent::Create));
    let opened: Vec<_> = opened.map(tokio::spawn).collect();
    let mut stores = Vec::new();
    for store in opened {
        stores.push(store.await.unwrap().unwrap());
    }
    let id = stores[0].create(new("a"), NOW).await.unwrap().id;
    for store in &stores {
        assert_eq!(read(store, "a").await.unwrap().id, id);
    }
}

async fn database_that_is_missing_is_not_made_by_reading(scene: &Scene) {
    for intent in [Intent::Read, Intent::Change] {
        let Err(error) = open(scene.options(), intent).await else {
            panic!("it opened");
        };
        let expected = match scene.database {
            Backend::Sqlite { .. } => "does not exist",
            Backend::Postgres(_) => "has no tables of realmgate",
        };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!scene.key().exists());
    }
    scene.open().await.create(new("a"), NOW).await.unwrap();
    let store = open(scene.options(), Intent::Read).await.unwrap();
    assert!(read(&store, "a").await.is_some());
}

async fn key_that_does_not_fit_stops_the_start(scene: &Scene) {
    drop(scene.open().await);
    std::fs::remove_file(scene.key()).unwrap();
    let refused = open(scene.options(), Intent::Begin).await;
    assert!(refused.is_err_and(|it| it.is_configuration()));
    assert!(!scene.key().exists());
    let other = realmgate::store::Keys::generate().unwrap();
    std::fs::write(scene.key(), other.to_text().as_bytes()).unwrap();
    let refused = open(scene.options(), Intent::Begin).await;
    assert!(refused.is_err_and(|it| it.to_string().contains("are encrypted with key")));
}

async fn change_with_sql_raises_the_version_and_ends_sessions(scene: &Scene) {
    let store = scene.open().await;
    let identity = store.create(new("a"), NOW).await.unwrap();
    store.create(new("b"), NOW).await.unwrap();
    let version = async || {
        let read = store.identity_by_id(identity.id).await.unwrap().unwrap();
        read.history.version
    };
    let session = Session {
        id: SessionId([1; 32]),
        kind: SessionKind::Session,
        identity: identity.id,
        principal: identity.principal.clone(),
        made: NOW,
        seen: NOW,
        source: None,
    };
    let there = async || store.session(session.id).await.unwrap().is_some();
    for (change, ends_sessions) in [
        ("pardoned = 5", false),
        ("comment = 'c'", false),
        ("previous_seed = seed, previous_until = 1800000000", false),
        (
            "previous_seed = (SELECT seed FROM identity WHERE name = 'b')",
            false,
        ),
        ("previous_seed = NULL", false),
        ("seed = (SELECT seed FROM identity WHERE name = 'b')", true),
        ("state = 'disabled'", true),
    ] {
        let before = version().await;
        assert!(store.begin_session(session.clone(), before).await.unwrap());
        let last = store.changes(0, 1000).await.unwrap().last;
        scene
            .sql(&format!("UPDATE identity SET {change} WHERE name = 'a'"))
            .await;
        assert_eq!(version().await.0, before.0 + 1, "{change}");
        let changes = store.changes(last, 1000).await.unwrap();
        let changed = changes.changed.unwrap();
        assert!(changed.contains(&identity.principal), "{change}");
        assert_eq!(there().await, !ends_sessions, "{change}");
        // One that nobody has seen cannot be overwritten.
        let stale = Change {
            expected: Some(before),
            ..Change::default()
        };
        let stale = store.update(identity.id, stale, NOW).await;
        assert!(matches!(stale, Err(ChangeError::Stale)), "{change}");
        store.end_session(session.id).await.unwrap();
    }
    let before = version().await;
    scene
        .sql("UPDATE identity SET seed = seed, comment = comment")
        .await;
    assert_eq!(version().await, before);
}

async fn seed_that_is_encrypted_again_is_no_change(scene: &Scene) {
    let store = scene.open().await;
    let id = store.create(new("a"), NOW).await.unwrap().id;
    let version = async || {
        let read = store.identity_by_id(id).await.unwrap().unwrap();
        (read.history.version, read.seed().is_some())
    };
    let before = version().await;
    let options = scene.options();
    let rotate = move || {
        let mut sealing = Sealing::open(&options, Intent::Change).unwrap();
        sealing.rotate(|_| {}).unwrap().resealed
    };
    assert_eq!(tokio::task::spawn_blocking(rotate).await.unwrap(), 1);
    assert_eq!(version().await, before);
}

async fn used_steps_that_cannot_be_read_are_reset_with_the_failures(scene: &Scene) {
    let store = scene.open().await;
    let id = store.create(new("a"), NOW).await.unwrap().id;
    let current = Step(NOW.as_secs() / 30);
    assert!(store.use_step(id, current, 1).await.unwrap());
    assert!(store.bad_steps().await.unwrap().is_empty());
    let garbage = match &scene.database {
        Backend::Sqlite { .. } => "X'0102'",
        Backend::Postgres(_) => "'\\x0102'",
    };
    scene
        .sql(&format!("UPDATE spent SET steps = {garbage}"))
        .await;
    assert_eq!(store.bad_steps().await.unwrap(), [id]);
    let error = store
        .use_step(id, Step(current.0 + 5), 1)
        .await
        .unwrap_err();
    let expected = format!("the used steps of identity {} cannot be read", id.0);
    assert!(error.to_string().contains(&expected), "{error}");
    let change = Change {
        unthrottle: true,
        ..Change::default()
    };
    store.update(id, change, NOW).await.unwrap();
    assert!(store.bad_steps().await.unwrap().is_empty());
    // None that may have been used before counts again.
    for step in [0, 1, 10] {
        let step = Step(current.0 + step);
        assert!(!store.use_step(id, step, 1).await.unwrap(), "{step:?}");
    }
    assert!(store.use_step(id, Step(current.0 + 11), 1).await.unwrap());
}
