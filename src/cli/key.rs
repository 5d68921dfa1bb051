use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::CliError;
use super::local_store::LOGGED;
use super::output::{Output, message};
use super::remote::{Remote, Server};
use super::setup::{load, runtime};
use crate::audit::{Actor, Audit, AuditMetrics, Event, Kind, LINE};
use crate::doors::v1::types;
use crate::server::store_options;
use crate::store::{self, Broken, Intent, KeyRole, Keys, Progress, Rotated, Sealing};

/// The interval between progress messages.
const SAY_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a new key, for a key file or REALMGATE_STORE_KEY
    Generate,
    /// List the keys, with the id, the role and the number of encrypted seeds of each
    Show {
        #[command(flatten)]
        remote: Remote,
    },
    /// Decrypt every seed and list those that fail; exit code 1 if there are any
    Check,
    /// Create a new key and re-encrypt every seed with it, even while the server runs
    ///
    /// After an interruption, run it again, and it continues. If the key file has a key before the current one,
    /// that key is used. The old key stays in the key file for older backups until you retire it.
    Rotate,
    /// Remove from the key file those keys that no seed needs
    Retire,
}

pub(super) fn run(
    command: &Command,
    config: Option<&Path>,
    output: Output,
) -> Result<(), CliError> {
    if matches!(command, Command::Generate) {
        let text = Keys::generate().map_err(store::OpenError::KeyFile)?;
        let text = text.to_text();
        let key = text.trim_end();
        output.print(&json!({ "key": key }), || key.to_owned());
        return Ok(());
    }
    if let Command::Show { remote } = command
        && let Some(server) = remote.server()?
    {
        return runtime()?.block_on(show_there(&server, output));
    }
    let config = load(config)?;
    crate::telemetry::init(&config.log);
    let intent = match command {
        Command::Rotate | Command::Retire => Intent::Change,
        Command::Generate | Command::Show { .. } | Command::Check => Intent::Read,
    };
    let options = store_options(&config.store)?;
    store::expect(&options, intent)?;
    let audit = match intent {
        Intent::Change => Audit::open(&config.audit, AuditMetrics::default())?,
        _ => Audit::default(),
    };
    let ready = runtime()?.block_on(audit.ready(LINE));
    ready.map_err(CliError::Unloggable)?;
    let mut sealing = Sealing::open(&options, intent)?;
    match command {
        Command::Generate => Ok(()),
        Command::Show { .. } => show(&mut sealing, output),
        Command::Check => check(&mut sealing, output),
        Command::Rotate => rotate(&mut sealing, &audit, output),
        Command::Retire => retire(&mut sealing, &audit, output),
    }
}

fn show(sealing: &mut Sealing, output: Output) -> Result<(), CliError> {
    for key in sealing.keys()? {
        print(
            &key.id.to_string(),
            key.role.as_str(),
            (key.seeds, key.is_held),
            output,
        );
    }
    Ok(())
}

async fn show_there(server: &Server, output: Output) -> Result<(), CliError> {
    let keys: types::Keys = server.get("/v1/keys").await?;
    for key in keys.items {
        print(&key.id, &key.role, (key.seeds, key.held), output);
    }
    Ok(())
}

fn print(id: &str, role: &str, (seeds, is_held): (u64, bool), output: Output) {
    let value = json!({ "id": id, "role": role, "seeds": seeds, "held": is_held });
    let missing = match is_held {
        true => "",
        false if role == KeyRole::Unknown.as_str() => "  missing: these seeds cannot be decrypted",
        false => "  missing",
    };
    output.print(&value, || {
        format!("{id}  {role:<9}  {seeds} seeds{missing}")
    });
}

fn check(sealing: &mut Sealing, output: Output) -> Result<(), CliError> {
    let (good, broken) = sealing.check()?;
    let value = json!({
        "good": good,
        "broken": broken.iter().map(as_json).collect::<Vec<_>>(),
    });
    output.print(&value, || {
        let mut text: Vec<_> = broken.iter().map(as_text).collect();
        text.push(format!("{good} seeds decrypt, {} fail", broken.len()));
        text.join("\n")
    });
    check_none_broken(&broken)
}

fn rotate(sealing: &mut Sealing, audit: &Audit, output: Output) -> Result<(), CliError> {
    let mut said = None;
    let before = sealing.current()?;
    let rotated = sealing.rotate(|progress| {
        let is_due = said.is_none_or(|said: Instant| said.elapsed() >= SAY_EVERY);
        if is_due || progress.done == progress.total {
            said = Some(Instant::now());
            say(progress, output);
        }
    });
    let rotated = match rotated {
        Ok(rotated) => rotated,
        Err(error) => {
            // The new key is already the current one.
            if let Ok(Some(now)) = sealing.current()
                && before != Some(now)
            {
                let detail = "interrupted: some seeds are still encrypted with another key";
                record(audit, Kind::KeyRotated, &[now.to_string()], Some(detail))?;
            }
            return Err(error.into());
        }
    };
    let ids = |ids: &[_]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let Rotated {
        key,
        resealed,
        broken,
        retired,
        kept,
    } = &rotated;
    let recorded = record(audit, Kind::KeyRotated, &[key.to_string()], None);
    let value = json!({
        "key": key.to_string(),
        "resealed": resealed,
        "broken": broken.iter().map(as_json).collect::<Vec<_>>(),
        "retired": ids(retired),
        "kept": ids(kept),
    });
    output.print(&value, || {
        let mut text: Vec<_> = broken.iter().map(as_text).collect();
        text.push(format!("key {key} is now the current key; {resealed} identities re-encrypted"));
        for id in retired {
            text.push(format!(
                "Key {id} is no longer needed, except by older backups; `realmgate key retire` removes it"
            ));
        }
        for id in kept {
            text.push(format!(
                "Key {id} is kept because some seeds cannot be decrypted; rotate or delete these identities and run this again"
            ));
        }
        text.join("\n")
    });
    recorded?;
    check_none_broken(broken)
}

fn say(Progress { done, total }: Progress, output: Output) {
    if output.is_json() {
        message(&json!({ "done": done, "total": total }).to_string());
    } else {
        message(&format!("{done} of {total} identities"));
    }
}

fn retire(sealing: &mut Sealing, audit: &Audit, output: Output) -> Result<(), CliError> {
    let ids: Vec<_> = sealing.retire()?.iter().map(ToString::to_string).collect();
    let recorded = record(audit, Kind::KeyRetired, &ids, None);
    output.print(&json!({ "retired": ids }), || match ids.as_slice() {
        [] => "all keys are in use; nothing to remove".to_owned(),
        ids => format!("removed: {}", ids.join(", ")),
    });
    recorded
}

/// Writes a change of keys to the audit log.
fn record(
    audit: &Audit,
    kind: Kind,
    keys: &[String],
    detail: Option<&'static str>,
) -> Result<(), CliError> {
    let event = |key| Event {
        key: Some(key),
        actor: Some(Actor::user()),
        detail: detail.map(Into::into),
        ..Event::new(kind)
    };
    let events: Vec<_> = keys.iter().map(|key| event(&**key)).collect();
    let recorded = runtime()?.block_on(audit.record(&events, LOGGED));
    recorded.map_err(CliError::Unaudited)
}

fn check_none_broken(broken: &[Broken]) -> Result<(), CliError> {
    match broken.len() {
        0 => Ok(()),
        some => Err(CliError::Broken(some)),
    }
}

fn as_json(broken: &Broken) -> serde_json::Value {
    json!({
        "id": broken.id, "name": broken.name, "realm": broken.realm, "which": broken.which,
        "reason": broken.why,
    })
}

/// Formats a seed that does not decrypt. Escapes control characters, so that a name cannot control
/// the terminal.
fn as_text(broken: &Broken) -> String {
    format!(
        "{:>6}  {}@{}  {}: {}",
        broken.id,
        broken.name.escape_debug(),
        broken.realm.escape_debug(),
        broken.which,
        broken.why
    )
}
