use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::error::CliError;
use super::local_store::LOGGED;
use super::option_error::OptionError;
use super::output::{Output, Progress};
use super::setup::{load, runtime};
use crate::audit::{Actor, Audit, AuditMetrics, Event, Kind, LINE};
use crate::config::DATABASE_PASSWORD;
use crate::server::store_options;
use crate::store::{self, Backend, Copied, Password, Server};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Copy a database to an empty one, such as SQLite to PostgreSQL; without --apply, only show what would be copied
    ///
    /// Copies identities with their ids and encrypted seeds, last uses, used one-time tokens and failures, all in one
    /// transaction. Needs no key, and does not change the source. Stop the servers that use the source first: what they
    /// change during the copy would be lost. Exit codes: 0 done; 1 the target has identities, or the source is in use;
    /// 2 wrong usage or configuration; 3 a database failed, and nothing was copied.
    Copy(Copy),
}

#[derive(Debug, clap::Args)]
pub(super) struct Copy {
    /// Source: sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    from: String,
    /// Target, which must have no identities; its tables, or its file, are created if they do not exist
    #[arg(long, value_name = "URL")]
    to: String,
    /// Copy; without it, only show what would be copied
    #[arg(long)]
    apply: bool,
    /// File with the password for PostgreSQL; default: store.password_file, or PGPASSWORD
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Schema of the tables in PostgreSQL; default: store.schema, or the first one in the search path
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
}

pub(super) fn run(
    command: &Command,
    config: Option<&Path>,
    output: Output,
) -> Result<(), CliError> {
    let Command::Copy(args) = command;
    let config = load(config)?;
    crate::telemetry::init(&config.log);
    let configured = store_options(&config.store)?.database;
    let from = backend("--from", &args.from, args, &configured)?;
    let to = backend("--to", &args.to, args, &configured)?;
    let audit = match args.apply {
        true => Audit::open(&config.audit, AuditMetrics::default())?,
        false => Audit::default(),
    };
    let runtime = runtime()?;
    let ready = runtime.block_on(audit.ready(LINE));
    ready.map_err(CliError::Unloggable)?;
    let mut progress = Progress::new(output);
    let copied = store::copy(&from, &to, config.store.timeout, !args.apply, &mut |rows| {
        progress.show(|| format!("{rows} rows read"));
    });
    progress.end();
    let copied = copied?;
    let (from, to) = (from.location(), to.location());
    let recorded = match args.apply {
        true => {
            let Copied {
                identities,
                checksum,
                ..
            } = &copied;
            let detail = format!("{identities} identities from {from} to {to}, SHA-256 {checksum}");
            let event = Event {
                actor: Some(Actor::user()),
                detail: Some(detail.into()),
                ..Event::new(Kind::StoreCopied)
            };
            runtime.block_on(audit.record(&[event], LOGGED))
        }
        false => Ok(()),
    };
    let keys: Vec<_> = copied.keys.iter().map(ToString::to_string).collect();
    let value = json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "applied": args.apply,
        "identities": copied.identities,
        "uses": copied.uses,
        "one_time": copied.one_time,
        "failures": copied.failures,
        "keys": keys,
        "checksum": copied.checksum,
        "used_by": copied.used_by,
    });
    output.print(&value, || {
        text(args.apply, &copied, &keys.join(" and key "))
    });
    if let Some(user) = &copied.used_by {
        output.warn(&format!(
            "{user} uses {from}; stop every realmgate process that uses it before --apply"
        ));
    }
    recorded.map_err(CliError::Unaudited)
}

fn text(is_applied: bool, copied: &Copied, keys: &str) -> String {
    let Copied {
        identities,
        one_time,
        failures,
        checksum,
        ..
    } = copied;
    let some = |count: &u64, one, many| format!("{count} {}", if *count == 1 { one } else { many });
    let identities = some(
        identities,
        "identity with its last use",
        "identities with their last uses",
    );
    let failures = match failures {
        Some(failures) => {
            let parties = some(failures, "name or address", "names and addresses");
            format!("the failures of {parties}")
        }
        None => "no failures, because the target has been in use and counts its own".to_owned(),
    };
    let counts =
        format!("{identities}, the used one-time tokens of {one_time} of them, and {failures}");
    let mut text = match is_applied {
        true => format!("copied and compared: {counts}"),
        false => format!("would copy: {counts}"),
    };
    text.push_str(&format!("\nSHA-256 {checksum}"));
    if !keys.is_empty() {
        text.push_str(&format!(
            "\nThe seeds are encrypted with key {keys}, which the servers of the target need"
        ));
    }
    if !is_applied {
        text.push_str("\nNothing was changed; --apply copies");
    }
    text
}

/// Reads the URL of a database. An error does not show it, because it may contain a password.
fn backend(
    option: &'static str,
    url: &str,
    args: &Copy,
    configured: &Backend,
) -> Result<Backend, CliError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let is_file = Path::new(path).file_name().is_some() && !path.starts_with("//");
        let path = Some(PathBuf::from(path)).filter(|_| is_file);
        let path = path.ok_or(OptionError::Database(option))?;
        return Ok(Backend::Sqlite { path, readers: 1 });
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(OptionError::Database(option).into());
    }
    let server = Server::parse(url);
    let mut server = server.map_err(|error| OptionError::DatabaseUrl(option, error))?;
    let configured = match configured {
        Backend::Postgres(server) => Some(server),
        Backend::Sqlite { .. } => None,
    };
    server.password = match (&args.password_file, configured) {
        (Some(file), _) => Password::File(file.clone()),
        (None, Some(configured)) => configured.password.clone(),
        (None, None) => std::env::var_os(DATABASE_PASSWORD).map_or(Password::None, |it| {
            Password::Environment(Zeroizing::new(it.into_encoded_bytes()))
        }),
    };
    server.schema = match (&args.schema, configured) {
        (Some(schema), _) if !Server::is_schema(schema) => {
            return Err(OptionError::Schema.into());
        }
        (Some(schema), _) => Some(schema.as_str().into()),
        (None, Some(configured)) => configured.schema.clone(),
        (None, None) => None,
    };
    server.connections = 1;
    Ok(Backend::Postgres(Box::new(server)))
}
