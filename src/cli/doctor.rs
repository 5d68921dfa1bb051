//! `realmgate doctor`: looks at a deployment from outside, as its callers and its attackers would.

mod advice;
mod checks;
mod forging;
mod front;
mod outcome;
mod presented;
mod received;
mod site;
mod spellings;
mod wire;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::CliError;
use super::output::{BAD, DIM, GOOD, Output, STRONG, message};
use super::who::Named;
use crate::client::{Credential, shown_path};
use checks::Examination;
use front::Front;
use outcome::{Check, Finding, Outcome};
use site::Site;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// URL of a page that the caller may request, preferably in an application that shows the headers it receives
    #[arg(value_name = "URL")]
    url: String,
    /// Caller that may request the page
    #[arg(long = "as", value_name = "NAME@REALM")]
    who: Named,
    /// File with the seed of the caller: base32, an otpauth:// URL, or the JSON of `realmgate identity create`
    #[arg(long, value_name = "FILE")]
    seed_file: PathBuf,
    /// Caller of another realm that may not request the page
    #[arg(long, value_name = "NAME@REALM", requires = "other_seed_file")]
    other: Option<Named>,
    /// File with the seed of the other caller
    #[arg(long, value_name = "FILE", requires = "other")]
    other_seed_file: Option<PathBuf>,
    /// Path of a page at the same address that needs no credential, such as `/public/`
    #[arg(long, value_name = "PATH")]
    public: Option<String>,
    /// URL of realmgate's service listener, to check that it does not trust this machine
    #[arg(long, value_name = "URL")]
    service: Option<String>,
    /// Front proxy whose configuration lines to name [default: guessed from its responses]
    #[arg(long)]
    front: Option<Front>,
    /// Ask you to stop realmgate, and check that no request passes while it is stopped
    #[arg(long)]
    stop: bool,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    let caller = credential(&args.who, &args.seed_file)?;
    let other = match (&args.other, &args.other_seed_file) {
        (Some(who), Some(file)) => Some(credential(who, file)?),
        _ => None,
    };
    let site = Site::new(&args.url).map_err(CliError::Doctor)?;
    let service = args.service.as_deref().map(Site::new).transpose();
    let examination = Examination {
        site: &site,
        caller: &caller,
        other: other.as_ref(),
        public: args.public.as_deref(),
        service: service.map_err(CliError::Doctor)?,
        front: args.front,
    };
    let mut outcomes = examination
        .run()
        .map_err(|error| CliError::Unexaminable(args.url.clone(), error))?;
    if args.stop {
        message("stop realmgate now, then press Enter");
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let read = read.map_err(|error| CliError::Read("-".into(), error))?;
        outcomes.push(match read {
            0 => Outcome::unknown(
                Check::Stopped,
                "standard input ended, and realmgate may still run",
            ),
            _ => examination.stopped(),
        });
        message("start realmgate again");
    }
    let found = outcomes.iter().filter(|it| it.finding().is_some()).count();
    output.print(&report(&outcomes), || text(&outcomes));
    match found {
        0 => Ok(()),
        many => Err(CliError::Findings(many)),
    }
}

fn credential(who: &Named, file: &Path) -> Result<Credential, CliError> {
    Credential::from_seed_file(&who.name, &who.realm, file)
        .map_err(|error| CliError::SeedFile(shown_path(file).to_owned(), error))
}

fn report(outcomes: &[Outcome]) -> Value {
    let checks = outcomes.iter().map(|outcome| {
        let result = match outcome.finding {
            Finding::None => "ok",
            Finding::Found { .. } => "found",
            Finding::Unknown(_) => "unknown",
        };
        let (what, change) = match &outcome.finding {
            Finding::None => (None, None),
            Finding::Found { what, change } => (Some(what.as_str()), Some(change)),
            Finding::Unknown(why) => (Some(*why), None),
        };
        json!({ "check": outcome.check, "result": result, "what": what, "change": change })
    });
    json!({ "checks": checks.collect::<Vec<_>>() })
}

fn text(outcomes: &[Outcome]) -> String {
    let mut lines = Vec::new();
    for outcome in outcomes {
        let check = outcome.check;
        match &outcome.finding {
            Finding::None => lines.push(format!("{GOOD}ok{GOOD:#}       {check}")),
            Finding::Found { what, change } => {
                lines.push(format!(
                    "{BAD}found{BAD:#}    {STRONG}{check}{STRONG:#}: {what}"
                ));
                lines.push(format!("         change: {change}"));
            }
            Finding::Unknown(why) => {
                lines.push(format!("{DIM}unknown{DIM:#}  {check}: {why}"));
            }
        }
    }
    lines.join("\n")
}
