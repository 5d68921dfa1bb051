use std::fmt::Write;
use std::path::Path;

use anstyle::Style;
use serde_json::json;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::{BAD, DIM, GOOD, Output, STRONG, line};
use super::{load, runtime};
use crate::auth::ChangeError;
use crate::import::{Outcome, Plan, Planned, Source};
use crate::telemetry::audit::{Actor, Event, Kind};

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
    let mut plan = Plan::new(&rows, &loaded.realms, loaded.credential_headers.name_chars);
    drop(rows);
    if !args.apply && !loaded.store.path.exists() {
        // A look changes nothing: no store is made for it.
        report(&plan, false, output);
        return Ok(());
    }
    LocalStore::with(config, async |local| {
        local
            .each(|here| {
                plan.meet(here);
                Ok(())
            })
            .await?;
        if args.apply {
            // Written first: what is reported has happened.
            let taken = plan.identities(now());
            let actor = Actor::user();
            let who: Vec<_> = taken
                .iter()
                .map(|it| (it.id, it.principal.clone()))
                .collect();
            let written = local.store.import(taken, now()).await;
            written.map_err(|error| match error {
                ChangeError::Taken => CliError::Overtaken,
                ChangeError::Store(error) => CliError::Store(error),
            })?;
            let events: Vec<_> = who
                .iter()
                .map(|(id, principal)| Event {
                    subject: Some(principal.as_ref()),
                    id: *id,
                    actor: Some(actor),
                    ..Event::new(Kind::IdentityImported)
                })
                .collect();
            local.record_all(&events).await?;
        }
        report(&plan, args.apply, output);
        Ok(())
    })
}

fn report(plan: &Plan, applied: bool, output: Output) {
    let (incoming, left_out) = (plan.incoming(), plan.left_out());
    let unchanged = plan.rows().len() - incoming - left_out;
    if output.is_json() {
        let rows: Vec<_> = plan.rows().iter().map(as_json).collect();
        let report = json!({
            "applied": applied, "incoming": incoming, "unchanged": unchanged, "left_out": left_out,
            "rows": rows,
        });
        output.print(&report, String::new);
        return;
    }
    table(plan.rows());
    let verb = if applied { "came in" } else { "would come in" };
    line(&format!(
        "{} rows: {incoming} {verb}, {unchanged} were here already, {left_out} stay out",
        plan.rows().len()
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

/// Prints the rows in columns; a name that is longer than most widens its own line only.
fn table(rows: &[Planned]) {
    const WIDEST: usize = 48;
    if rows.is_empty() {
        return;
    }
    let wide = |width: Option<usize>, head: &str| width.unwrap_or(0).max(head.len());
    let ids = rows.iter().map(|row| row.id.to_string().len());
    let ids = wide(ids.max(), "id");
    let whos = rows.iter().map(|row| who(row).chars().count());
    let whos = wide(whos.filter(|&it| it <= WIDEST).max(), "name@realm");
    let head = ("id", "name@realm", "outcome");
    let print = |style: Style, (id, who, outcome): (&str, &str, &str)| {
        line(&format!(
            "{style}{id:>ids$}  {who:<whos$}  {outcome}{style:#}"
        ));
    };
    print(STRONG, head);
    for row in rows {
        let columns = (&*row.id.to_string(), &*who(row), &*outcome(row));
        print(Style::new(), columns);
    }
}

/// Control characters are escaped: a name cannot draw on the terminal.
fn who(row: &Planned) -> String {
    format!("{}@{}", row.name.escape_debug(), row.realm.escape_debug())
}

fn outcome(row: &Planned) -> String {
    let (style, outcome) = match &row.outcome {
        Outcome::New => (GOOD, "comes in".to_owned()),
        Outcome::NewId => (GOOD, "comes in under a new number".to_owned()),
        Outcome::Unchanged => (DIM, "is here already".to_owned()),
        Outcome::LeftOut(reason) => (BAD, format!("stays out: {reason}")),
    };
    let mut text = format!("{style}{outcome}{style:#}");
    for note in &row.notes {
        let _ = write!(text, "; {note}");
    }
    text
}
