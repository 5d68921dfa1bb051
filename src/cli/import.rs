use std::path::Path;

use serde_json::json;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::{BAD, DIM, GOOD, Output, line};
use super::{load, runtime};
use crate::auth::{ChangeError, Store};
use crate::config::Config;
use crate::import::{Outcome, Plan, Planned, Row, Source};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// From a Django database of ungleich-otp: shows what would come in, and takes it with --apply
    ///
    /// Identities keep their numbers and seeds. What is here already stays as it is, so that a second
    /// run changes nothing. Rows that cannot come in are listed with the reason.
    Django(Django),
}

#[derive(Debug, clap::Args)]
pub(super) struct Django {
    /// A file of SQLite's, or postgres://USER@HOST[:PORT]/DATABASE; a password may stand in PGPASSWORD
    #[arg(value_name = "PATH|URL")]
    source: String,
    /// Write it: all that comes in, in one transaction
    #[arg(long)]
    apply: bool,
}

pub(super) fn run(
    command: &Command,
    config: Option<&Path>,
    output: Output,
) -> Result<(), CliError> {
    let Command::Django(args) = command;
    let source: Source = args.source.parse()?;
    let rows = runtime(1)?.block_on(source.read())?;
    let loaded = load(config)?;
    if !args.apply && !loaded.store.path.exists() {
        // A look changes nothing: no store is made for it.
        let plan = runtime(1)?.block_on(plan(&rows, None, &loaded))?;
        report(&plan, args.apply, output);
        return Ok(());
    }
    LocalStore::with(config, async |local| {
        let plan = plan(&rows, Some(&*local.store), &local.config).await?;
        if args.apply {
            // Written first: what is reported has happened.
            let (shown, taken) = (plan.clone(), plan.into_identities(now()));
            let written = local.store.import(taken, now()).await;
            written.map_err(|error| match error {
                ChangeError::Taken => CliError::Overtaken,
                ChangeError::Store(error) => CliError::Store(error),
            })?;
            report(&shown, true, output);
        } else {
            report(&plan, false, output);
        }
        Ok(())
    })
}

async fn plan(rows: &[Row], store: Option<&dyn Store>, config: &Config) -> Result<Plan, CliError> {
    let limit = config.credential_headers.name_chars;
    Ok(Plan::new(rows, store, &config.realms, limit).await?)
}

fn report(plan: &Plan, applied: bool, output: Output) {
    let (incoming, left_out) = (plan.incoming(), plan.left_out());
    let unchanged = plan.rows.len() - incoming - left_out;
    if output.is_json() {
        let rows: Vec<_> = plan.rows.iter().map(as_json).collect();
        let report = json!({
            "applied": applied, "incoming": incoming, "unchanged": unchanged, "left_out": left_out,
            "rows": rows,
        });
        output.print(&report, String::new);
        return;
    }
    for row in &plan.rows {
        line(&as_text(row));
    }
    let verb = if applied { "came in" } else { "would come in" };
    line(&format!(
        "{} rows: {incoming} {verb}, {unchanged} were here already, {left_out} stay out",
        plan.rows.len()
    ));
    if !applied && incoming > 0 {
        line("nothing was written; --apply takes them");
    }
}

fn as_json(row: &Planned) -> serde_json::Value {
    let (outcome, reason) = match &row.outcome {
        Outcome::New => ("new", None),
        Outcome::NewId => ("new_id", None),
        Outcome::Unchanged => ("unchanged", None),
        Outcome::LeftOut(reason) => ("left_out", Some(reason.to_string())),
    };
    let notes: Vec<String> = row.notes.iter().map(ToString::to_string).collect();
    json!({
        "id": row.id, "name": row.name, "realm": row.realm,
        "outcome": outcome, "reason": reason, "notes": notes,
    })
}

fn as_text(row: &Planned) -> String {
    let (style, outcome) = match &row.outcome {
        Outcome::New => (GOOD, "comes in".to_owned()),
        Outcome::NewId => (GOOD, "comes in under a new number".to_owned()),
        Outcome::Unchanged => (DIM, "is here already".to_owned()),
        Outcome::LeftOut(reason) => (BAD, format!("stays out: {reason}")),
    };
    let who = format!("{}@{}", row.name.escape_debug(), row.realm.escape_debug());
    let mut text = format!("{:>6}  {who:<40}  {style}{outcome}{style:#}", row.id);
    for note in &row.notes {
        text.push_str("; ");
        text.push_str(&note.to_string());
    }
    text
}
