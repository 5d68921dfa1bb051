use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anstyle::Style;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::error::CliError;
use super::local_store::{LocalStore, now, patiently};
use super::output::{BAD, DIM, GOOD, Output, Progress, STRONG, line, message};
use super::rows::warn_of_rows;
use super::setup::load;
use crate::audit::{Actor, Event, Kind, LINE};
use crate::auth::{ChangeError, IdentityId, Imported, PrincipalRef, Selection};
use crate::import::{Bounds, Note, Outcome, Plan, PlanBuilder, Planned, Source, Taken};
use crate::store::Intent;

/// The number of rows per transaction, which takes some 10 ms.
const ROWS: usize = 500;

/// The minimum and maximum pause between transactions.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

/// The size of an audit line without name and realm, in bytes.
const AROUND: u64 = 400;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Import an ungleich-otp database; without --apply, only show what would be imported
    ///
    /// Identities keep their ids and seeds. Existing identities are not changed, so a second run changes
    /// nothing. Rows that cannot be imported are counted by reason; --verbose lists each of them.
    Django(Django),
}

#[derive(Debug, clap::Args)]
pub(super) struct Django {
    /// An SQLite file or postgres://USER@HOST[:PORT]/DATABASE; set the password in PGPASSWORD
    #[arg(value_name = "PATH|URL")]
    source: String,
    /// Import the rows, in batches; after an interruption, run the command again, and it continues
    #[arg(long)]
    apply: bool,
    /// Create an empty database if there is none, even if a key exists
    #[arg(long, requires = "apply")]
    init: bool,
    /// Print a line for each row
    #[arg(long)]
    verbose: bool,
    /// Maximum number of rows in the table; a million rows take about 500 MB of memory
    #[arg(long, value_name = "ROWS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_rows: u32,
    /// Maximum time for reading the database, in seconds, 1 to 86400
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
    let mut builder = PlanBuilder::new(&loaded.realms, loaded.credential_headers.name_chars);
    let mut progress = Progress::new(output);
    let mut read = 0_usize;
    source.read(bounds, |row| {
        read += 1;
        progress.show(|| format!("{read} rows read"));
        builder.add(&row);
    })?;
    let mut plan = builder.finish();
    if !args.apply && loaded.store.database.path().is_some_and(|it| !it.exists()) {
        // A dry run creates no store.
        progress.end();
        report(&plan, args, output);
        return Ok(());
    }
    let intent = match (args.apply, args.init) {
        (false, _) => Intent::Read,
        (true, false) => Intent::Begin,
        (true, true) => Intent::Create,
    };
    LocalStore::for_many(config, intent, async |local| {
        if args.apply
            && let Some(last) = plan.last_id()
        {
            // A concurrent creation must not take the number of a row.
            reserve(local, last).await?;
        }
        let bad = local
            .each(&Selection::default(), |here| {
                plan.meet(here);
                Ok(())
            })
            .await?;
        warn_of_rows(bad.iter().map(Into::into), output);
        if args.apply {
            let all = plan.incoming();
            let written = write(local, &mut plan, &mut progress, all).await;
            progress.end();
            if let Err((written, error)) = written {
                if written > 0 {
                    message(&format!(
                        "{written} of {all} identities imported; run the same command again to import the others"
                    ));
                }
                return Err(error);
            }
        }
        progress.end();
        report(&plan, args, output);
        Ok(())
    })
}

async fn reserve(local: &LocalStore, last: IdentityId) -> Result<(), CliError> {
    local.store.reserve(last).await.map_err(failed)
}

fn failed(error: ChangeError) -> CliError {
    match error {
        ChangeError::Taken | ChangeError::Stale => CliError::Overtaken,
        ChangeError::Store(error) => CliError::Store(error),
    }
}

/// Writes the planned rows in batches, each with its audit lines before the next. An error contains
/// the number of rows written before.
async fn write(
    local: &LocalStore,
    plan: &mut Plan,
    progress: &mut Progress,
    all: usize,
) -> Result<(), (usize, CliError)> {
    let mut written = 0;
    loop {
        let taken = plan.take(ROWS, now());
        if taken.is_empty() {
            return Ok(());
        }
        let failed_so_far = |error| (written, error);
        local.ready(lines(&taken)).await.map_err(failed_so_far)?;
        let began = Instant::now();
        let (places, identities): (Vec<_>, Vec<_>) =
            taken.into_iter().map(|it| (it.at, it.identity)).unzip();
        let importing = local.store.import(identities, now());
        let imported = patiently(progress, importing).await;
        let imported = imported.map_err(|error| failed_so_far(failed(error)))?;
        // Leave half of the time to other writers.
        let pause = began.elapsed().clamp(PAUSE.0, PAUSE.1);
        for (&at, imported) in places.iter().zip(&imported) {
            plan.settle(at, imported);
        }
        let came = write_down(local, plan, &places, &imported).await;
        written += came.map_err(|error| (written, error))?;
        progress.show(|| format!("{written} of {all} identities written"));
        tokio::time::sleep(pause).await;
    }
}

/// Returns an upper bound for the size of the audit lines, in bytes.
fn lines(taken: &[Taken]) -> u64 {
    // Escaping turns a byte of a name into at most six.
    let line = |it: &Taken| {
        let who = &it.identity.principal;
        AROUND + 6 * (who.name().len() + who.realm().len()) as u64
    };
    taken.iter().map(line).sum::<u64>().max(LINE)
}

/// Writes the audit lines of imported rows. Returns their number.
async fn write_down(
    local: &LocalStore,
    plan: &Plan,
    places: &[usize],
    imported: &[Imported],
) -> Result<usize, CliError> {
    let actor = Actor::user();
    let event = |(at, imported): (&usize, &Imported)| {
        let (row, Imported::Under(id)) = (plan.rows().get(*at)?, imported) else {
            return None;
        };
        Some(Event {
            subject: PrincipalRef::new(&row.name, &row.realm, usize::MAX).ok(),
            id: Some(*id),
            actor: Some(actor),
            ..Event::new(Kind::IdentityImported)
        })
    };
    let events: Vec<_> = places.iter().zip(imported).filter_map(event).collect();
    local.record_all(&events).await?;
    Ok(events.len())
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
    let verb = if applied {
        "imported"
    } else {
        "would be imported"
    };
    line(&format!(
        "{} rows: {incoming} {verb}, {unchanged} already present, {left_out} skipped",
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
        line("dry run; use --apply to import");
    }
}

/// Counts the rows that are skipped, renumbered or have a note, by kind.
fn kinds(rows: &[Planned]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for row in rows {
        let outcome = match &row.outcome {
            Outcome::LeftOut(reason) => Some(format!("skipped: {}", reason.kind())),
            Outcome::NewId => Some("new, under another id".to_owned()),
            Outcome::New | Outcome::Unchanged => None,
        };
        for what in outcome.into_iter().chain(row.notes.iter().map(Note::kind)) {
            *kinds.entry(what).or_default() += 1;
        }
    }
    kinds
}

/// The report as JSON. Rows are formatted one at a time, because there may be a million.
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

/// Prints the rows in columns. An unusually long name widens its own line only.
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

/// Formats the principal. Escapes control characters, so that a name cannot control the terminal.
fn who(row: &Planned) -> String {
    format!("{}@{}", row.name.escape_debug(), row.realm.escape_debug())
}

fn outcome(row: &Planned) -> String {
    let (style, outcome) = match &row.outcome {
        Outcome::New => (GOOD, "new".to_owned()),
        Outcome::NewId => (GOOD, "new, under another id".to_owned()),
        Outcome::Unchanged => (DIM, "already present".to_owned()),
        Outcome::LeftOut(reason) => (BAD, format!("skipped: {reason}")),
    };
    let mut text = format!("{style}{outcome}{style:#}");
    for note in &row.notes {
        let _ = write!(text, "; {note}");
    }
    text
}
