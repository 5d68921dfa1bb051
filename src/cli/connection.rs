//! What `check --connect` reports about the database.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::CliError;
use super::setup::runtime;
use crate::store::{self, Inspection, OpenError, Options, ServerState};

/// The difference of two clocks, in seconds, that is worth a warning.
const CLOCK: f64 = 2.0;

/// The lag of a standby that is worth a warning.
const LAG: Duration = Duration::from_secs(10);

/// The state of the database.
pub(super) struct Connection(Inspection);

impl Connection {
    /// Connects to the configured database.
    pub(super) fn try_out(options: &Options) -> Result<Self, CliError> {
        let inspected = runtime()?.block_on(store::inspect(options));
        inspected.map(Self).map_err(|error| match trouble(&error) {
            Some(advice) => CliError::Connection(Box::new(error), advice),
            None => CliError::Open(error),
        })
    }

    pub(super) fn text(&self) -> String {
        let found = &self.0;
        let mut lines = Vec::new();
        if let Some(server) = &found.server {
            let ServerState {
                version,
                address,
                role,
                round_trip,
                tls_mode,
                ..
            } = server;
            let millis = round_trip.as_secs_f64() * 1000.0;
            lines.push(format!(
                "server:   PostgreSQL {version} at {address}, responds in {millis:.1} ms"
            ));
            let may = match server.lacks.as_slice() {
                [] => "with all privileges that it needs".to_owned(),
                lacks => format!("without {}", lacks.join(", ")),
            };
            lines.push(format!("role:     {role}, {may}"));
            let tls = server.tls.as_deref().unwrap_or("plain text");
            lines.push(format!("TLS:      {tls}, sslmode={tls_mode}"));
            lines.push(format!("standbys: {}", standbys(server)));
            lines.push(format!(
                "clock:    {:+.1} s from the one of this machine",
                server.clock
            ));
            if let Some(nodes) = server.nodes {
                lines.push(format!("nodes:    {nodes} seen in the last minute"));
            }
        }
        let schema = match found.schema {
            0 => "no tables yet; `realmgate init` creates them".to_owned(),
            version => format!(
                "version {version}, this program knows up to {}",
                found.known
            ),
        };
        let named = found.server.as_ref().map(|it| format!("{}, ", it.schema));
        lines.push(format!("schema:   {}{schema}", named.unwrap_or_default()));
        let keys: Vec<_> = found.keys.iter().map(ToString::to_string).collect();
        if !keys.is_empty() {
            lines.push(format!("keys:     {}, available here", keys.join(", ")));
        }
        lines.join("\n")
    }

    pub(super) fn json(&self) -> Value {
        let found = &self.0;
        let keys: Vec<_> = found.keys.iter().map(ToString::to_string).collect();
        let server = found.server.as_ref().map(|it| {
            json!({
                "version": it.version,
                "address": it.address,
                "role": it.role,
                "lacks": it.lacks,
                "sslmode": it.tls_mode,
                "tls": it.tls,
                "round_trip": it.round_trip.as_secs_f64(),
                "clock": it.clock,
                "standbys": it.standbys,
                "lag": it.lag.map(|lag| lag.as_secs_f64()),
                "synchronous": it.synchronous,
                "other_writable": it.other_writable,
                "schema": it.schema,
                "nodes": it.nodes,
                "lock_holder": it.lock_holder,
            })
        });
        json!({ "schema": found.schema, "known": found.known, "keys": keys, "server": server })
    }

    /// Returns whether the database has the tables of this version.
    pub(super) fn has_tables(&self) -> bool {
        self.0.schema == self.0.known
    }

    /// Returns what works but is probably not intended.
    pub(super) fn warnings(&self) -> Vec<String> {
        let found = &self.0;
        let mut warnings = Vec::new();
        if (1..found.known).contains(&found.schema) {
            warnings.push(
                "the tables are those of an earlier version; the next start migrates them, and earlier versions \
                 then no longer open the database"
                    .to_owned(),
            );
        }
        if !found.elsewhere.is_empty() {
            warnings.push(format!(
                "the schema has no tables of realmgate, but {} has: check store.schema",
                found.elsewhere.join(", ")
            ));
        }
        let Some(server) = &found.server else {
            return warnings;
        };
        if !server.lacks.is_empty() {
            warnings.push(format!(
                "role {} lacks privileges: {}",
                server.role,
                server.lacks.join(", ")
            ));
        }
        warnings.extend(server.lock_holder.clone());
        if server.is_superuser {
            warnings.push(format!(
                "role {} is a superuser; a role that owns only the tables of realmgate is enough",
                server.role
            ));
        }
        if server.other_writable > 0 {
            warnings.push(format!(
                "{} of the other hosts in store.url accept writes too: fence them, or rebuild them as standbys",
                server.other_writable
            ));
        }
        if server.clock.abs() > CLOCK {
            warnings.push(format!(
                "the clock of the server differs from the one of this machine by {:.1} s",
                server.clock.abs()
            ));
        }
        if server.lag.is_some_and(|lag| lag > LAG) {
            warnings.push(format!("a standby is behind: {}", standbys(server)));
        }
        warnings
    }
}

fn standbys(server: &ServerState) -> String {
    let synchronous = match &*server.synchronous {
        "" => {
            "a failover can lose the last commits (synchronous_standby_names is empty)".to_owned()
        }
        names => format!("synchronous: {names}"),
    };
    match (server.standbys, server.lag) {
        (0, _) => "none".to_owned(),
        (many, Some(lag)) => {
            format!(
                "{many}, at most {:.1} s behind; {synchronous}",
                lag.as_secs_f64()
            )
        }
        (many, None) => {
            format!("{many}, their lag is visible to members of pg_monitor only; {synchronous}")
        }
    }
}

/// Returns what to do about a failed connection, by its kind.
fn trouble(error: &OpenError) -> Option<&'static str> {
    let (OpenError::Connect(_, text) | OpenError::Server(_, text)) = error else {
        return None;
    };
    const KINDS: [(&[&str], &str); 11] = [
        (
            &[
                "(28P01)",
                "password missing",
                "invalid configuration: password",
            ],
            "the server did not accept the password: check store.password_file, PGPASSWORD or the credential realmgate.pgpassword",
        ),
        (
            &["no encryption"],
            "the server accepts TLS only: set sslmode=verify-full in store.url, and sslrootcert; or check pg_hba.conf",
        ),
        (
            &["(28000)"],
            "the server does not let this role in: check that the role exists and may log in, and pg_hba.conf",
        ),
        (
            &["(3D000)"],
            "the server has no such database: create it, or correct the end of store.url",
        ),
        (
            &["(53300)"],
            "the server has no free connection: raise max_connections, or use PgBouncer",
        ),
        (
            &["(42501)"],
            "the role lacks a privilege: make it the owner of the schema",
        ),
        (
            &["certificate", "TLS", "tls"],
            "TLS failed: check sslmode, sslrootcert, and the names in the certificate of the server",
        ),
        (
            &["failed to lookup address", "Name or service not known"],
            "the name of the host does not resolve: check store.url and DNS",
        ),
        (
            &["does not allow writes", "(25006)"],
            "no server accepts writes: check that the primary runs, or promote a standby",
        ),
        (
            &["refused", "No such file"],
            "nothing listens at this address: check the host and the port, and that the server runs",
        ),
        (
            &["timed out", "no answer in time", "timeout"],
            "no response: check the network and firewalls, and that the server is not overloaded",
        ),
    ];
    let is_of = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let found = KINDS.iter().find(|(words, _)| is_of(words));
    found.map(|(_, advice)| *advice)
}
