use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anstyle::Style;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::error::CliError;
use super::local_store::{LocalStore, now};
use super::output::{BAD, DIM, GOOD, Output, Progress, STRONG, line};
use super::setup::load;
use crate::auth::{ChangeError, IdentityId, PrincipalRef};
use crate::import::{Bounds, Draft, Note, Outcome, Plan, Planned, Source};
use crate::store::Intent;
use crate::telemetry::audit::{Actor, Event, Kind, LINE};

/// How many events are written at a time.
const EVENTS: usize = 1000;

/// The bytes of their lines around name and realm.
const AROUND: u64 = 400;

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
    /// Begin with an empty database if there is none, although there is a key
    #[arg(long, requires = "apply")]
    init: bool,
    /// Print a line for each row
    #[arg(long)]
    verbose: bool,
    /// The most rows that the table may have; a million take some 500 MB of memory
    #[arg(long, value_name = "ROWS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_rows: u32,
    /// How long reading the database may take, 1 to 86400
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

pub(super) fn run(
    command: &Command,
    config: Option<&Path>,
    output: Output,
) -> Result<(), CliError> {
    let Command::Django(args) = command;
    let source: Source = args.source.parse()?;
    let loaded = load(config)?;
    let bounds = Bounds {
        rows: usize::try_from(args.max_rows).unwrap_or(usize::MAX),
        within: Duration::from_secs(args.timeout),
    };
    let mut draft = Draft::new(&loaded.realms, loaded.credential_headers.name_chars);
    let mut progress = Progress::new(output);
    let mut read = 0_usize;
    source.read(bounds, |row| {
        read += 1;
        progress.show(|| format!("{read} rows read"));
        draft.add(&row);
    })?;
    let mut plan = draft.finish();
    if !args.apply && !loaded.store.path.exists() {
        // A look changes nothing: no store is made for it.
        progress.end();
        report(&plan, args, output);
        return Ok(());
    }
    let intent = match (args.apply, args.init) {
        (false, _) => Intent::Read,
        (true, false) => Intent::Begin,
        (true, true) => Intent::Create,
    };
    LocalStore::with(config, intent, async |local| {
        local
            .each(|here| {
                plan.meet(here);
                Ok(())
            })
            .await?;
        let mut logged = Ok(());
        if args.apply {
            local.ready(lines(&plan)).await?;
            progress.show_now(|| format!("writing {} identities", plan.incoming()));
            // Written first: what is reported has happened.
            let taken = plan.identities(now());
            let written = local.store.import(taken, now()).await;
            written.map_err(|error| match error {
                ChangeError::Taken => CliError::Overtaken,
                ChangeError::Store(error) => CliError::Store(error),
            })?;
            logged = write_down(local, &plan, &mut progress).await;
        }
        progress.end();
        report(&plan, args, output);
        logged
    })
}

/// Returns how many bytes the lines about who comes in take at most.
fn lines(plan: &Plan) -> u64 {
    // In a line, a byte of a name takes at most six.
    let line = |row: &Planned| AROUND + 6 * (row.name.len() + row.realm.len()) as u64;
    let incoming = plan.rows().iter().filter(|row| row.comes_in());
    incoming.map(line).sum::<u64>().max(LINE)
}

/// Writes down who came in, some at a time.
async fn write_down(
    local: &LocalStore,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let actor = Actor::user();
    for (at, rows) in plan.rows().chunks(EVENTS).enumerate() {
        progress.show(|| format!("{} rows written down", at * EVENTS));
        let incoming = rows.iter().filter(|row| row.comes_in());
        let events: Vec<_> = incoming
            .map(|row| Event {
                subject: PrincipalRef::new(&row.name, &row.realm, usize::MAX).ok(),
                id: (row.outcome == Outcome::New).then_some(IdentityId(row.id)),
                actor: Some(actor),
                ..Event::new(Kind::IdentityImported)
            })
            .collect();
        local.record_all(&events).await?;
    }
    Ok(())
}

fn report(plan: &Plan, args: &Django, output: Output) {
    let applied = args.apply;
    let (incoming, left_out) = (plan.incoming(), plan.left_out());
    let unchanged = plan.rows().len() - incoming - left_out;
    if output.is_json() {
        let report = Report {
            applied,
            incoming,
            unchanged,
            left_out,
            rows: Rows(plan.rows()),
        };
        output.print(&report, String::new);
        return;
    }
    if args.verbose {
        table(plan.rows());
    }
    let verb = if applied { "came in" } else { "would come in" };
    line(&format!(
        "{} rows: {incoming} {verb}, {unchanged} were here already, {left_out} stay out",
        plan.rows().len()
    ));
    for (what, rows) in kinds(plan.rows()) {
        line(&format!("  {rows} × {what}"));
    }
    let is_more = plan.rows().iter().any(|row| !row.notes.is_empty()) || left_out > 0;
    if is_more && !args.verbose {
        line("--verbose lists each row");
    }
    if !applied && incoming > 0 {
        line("nothing was written; --apply takes them");
    }
}

/// Counts the rows that stay out, come in under a new number or have something to be known, by what it is.
fn kinds(rows: &[Planned]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for row in rows {
        let outcome = match &row.outcome {
            Outcome::LeftOut(reason) => Some(format!("stays out: {}", reason.kind())),
            Outcome::NewId => Some("comes in under a new number".to_owned()),
            Outcome::New | Outcome::Unchanged => None,
        };
        for what in outcome.into_iter().chain(row.notes.iter().map(Note::kind)) {
            *kinds.entry(what).or_default() += 1;
        }
    }
    kinds
}

/// The report for programs. A row is made when it is written, since there may be a million.
#[derive(Serialize)]
struct Report<'a> {
    applied: bool,
    incoming: usize,
    unchanged: usize,
    left_out: usize,
    rows: Rows<'a>,
}

struct Rows<'a>(&'a [Planned]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(as_json))
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
