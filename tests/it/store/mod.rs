//! Changes by one process take effect in others.

mod claims;
mod cluster;
mod conformance;
mod connect;
mod copy;
mod database_files;
mod failure;
mod load;
mod nodes;
mod restore;
mod rows;
mod sealing;
mod server;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Output;
use std::time::SystemTime;

use realmgate::auth::{
    Administration, ImportedIdentity, Parameters, Principal, Seed, State, Terms, UnixTime,
};
use realmgate::config::Config;
use realmgate::server::store_options;
use realmgate::store::{self, Intent};

use crate::harness::{Gate, get, on_server, realmgate, until};

/// Runs a command with a configuration of the store, and an environment.
fn run_with_store(
    folder: &Path,
    store: &str,
    environment: &[(&str, &str)],
    args: &[&str],
) -> Output {
    let config = folder.join("realmgate.toml");
    let store = on_server(folder, store);
    fs::write(&config, format!("[store]\n{store}\n")).unwrap();
    realmgate(args)
        .arg("--config")
        .arg(&config)
        .env_remove("PGPASSWORD")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// Adds identities `n0` and so on in the realm `many`.
pub(crate) fn fill(config: &Path, numbers: Range<usize>) {
    let config = Config::load(Some(config), []).unwrap();
    let now = UnixTime::from(SystemTime::now());
    let identity = |n| ImportedIdentity {
        id: None,
        principal: Principal::new(&format!("n{n}"), "many", 128).unwrap(),
        seed: Seed::generate().unwrap(),
        parameters: Parameters::default(),
        state: State::Enabled,
        terms: Terms::default(),
        created: now,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = store::open(store_options(&config.store).unwrap(), Intent::Change)
            .await
            .unwrap();
        let identities: Vec<_> = numbers.map(identity).collect();
        let mut identities = identities.into_iter().peekable();
        while identities.peek().is_some() {
            let some = identities.by_ref().take(500).collect();
            store.import(some, now).await.unwrap();
        }
    });
}

#[test]
fn writes_of_the_command_line_count_while_serving() {
    let gate = Gate::start("");
    let who = ["--name", "svc", "--realm", "payments"];
    let caller = gate.register("svc", "payments");
    let status = || get(gate.service, "/forward-auth", &caller.fields()).status;
    // Cached as known, and used.
    until("creation", || status() == 200);
    for (command, expected) in [("disable", 401), ("enable", 200), ("delete", 401)] {
        assert!(
            gate.run(&[&["identity", command][..], &who].concat())
                .status
                .success()
        );
        // Promised is one second; the rest is a margin for a busy machine. The cache would keep it for
        // five minutes.
        until(command, || status() == expected);
    }
}

#[test]
fn unknown_name_that_is_registered_counts() {
    let gate = Gate::start("");
    let seed = "X-Auth-Name: late\r\nX-Auth-Realm: r\r\nX-Auth-Token: 000000\r\n";
    assert_eq!(get(gate.service, "/forward-auth", seed).status, 401);
    let caller = gate.register("late", "r");
    until("registration", || {
        get(gate.service, "/forward-auth", &caller.fields()).status == 200
    });
}

/// An operator who copies the file of a stopped process has everything.
#[test]
fn database_file_is_whole_after_a_stop() {
    let mut gate = Gate::start("");
    fill(&gate.config(), 0..100);
    let caller = gate.register("svc", "payments");
    assert_eq!(
        get(gate.service, "/forward-auth", &caller.fields()).status,
        200
    );
    gate.signal("TERM");
    assert!(gate.child.wait().unwrap().success());
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("copy.db");
    fs::copy(gate.config().with_file_name("realmgate.db"), &copied).unwrap();
    let database = rusqlite::Connection::open(&copied).unwrap();
    let count = |sql: &str| {
        database
            .query_row(sql, (), |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM identity"), 101);
    assert_eq!(count("SELECT count(*) FROM identity_use WHERE used > 0"), 1);
}
