use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::cases::{self, Case, Door, Expected};
use crate::auth::{Foresight, Principal, Source, Store, split_user};
use crate::cli::error::CliError;
use crate::cli::local_store::now;
use crate::cli::output::Output;
use crate::cli::setup::{load, runtime};
use crate::config::Config;
use crate::doors::explain::Explainer;
use crate::doors::v1::types::{Explained, Fate, Misfit, Tried};
use crate::doors::v1::{explained, predicted};
use crate::server::{authenticator, store_options};
use crate::store::{self, Intent};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// File with the cases, in TOML
    file: PathBuf,
    /// Read the identities from the database: a caller that is unknown, disabled, expired or throttled is denied.
    /// Without it, every caller is assumed to exist
    #[arg(long)]
    connect: bool,
}

/// A case that does not hold.
#[derive(Debug, Serialize)]
struct Failure {
    /// The line of the file, counted from 1.
    line: usize,
    request: String,
    #[serde(rename = "as")]
    who: Option<String>,
    from: Option<IpAddr>,
    expected: String,
    /// What happens instead.
    outcome: String,
    /// The route that decides.
    route: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    cases: usize,
    failed: Vec<Failure>,
}

/// The maximum number of failures that name a route that needs an address: each takes time that
/// grows with the number of routes.
const ADDRESSED: usize = 20;

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let config = load(config)?;
    crate::telemetry::init(&config.log);
    let cases = cases::read(&args.file).map_err(|error| CliError::Cases(error.to_string()))?;
    let failed = runtime()?.block_on(failures(&config, &cases, args))?;
    let report = Report {
        cases: cases.len(),
        failed,
    };
    output.print(&report, || text(&report, &args.file));
    match report.failed.len() {
        0 => Ok(()),
        many => Err(CliError::CasesFail(many, report.cases)),
    }
}

/// Returns the cases that do not hold.
async fn failures(config: &Config, cases: &[Case], args: &Args) -> Result<Vec<Failure>, CliError> {
    let authenticator = if args.connect {
        let options = store_options(&config.store)?;
        let store: Arc<dyn Store> = store::open(options, Intent::Read).await?;
        Some(authenticator(config, &store).await?)
    } else {
        None
    };
    let explainer = Explainer::new(config);
    let mut failed: Vec<Failure> = Vec::new();
    for case in cases {
        let mistake =
            |text| CliError::Cases(format!("{}:{}: {text}", args.file.display(), case.line));
        let who = case.who.as_deref().map(|who| principal(who, config));
        let who = who.transpose().map_err(mistake)?;
        let foresight = match (who.as_ref().map(Principal::as_ref), &authenticator) {
            (None, _) => Foresight::no_credential(),
            (Some(who), None) => Foresight::valid(who),
            (Some(who), Some(authenticator)) => {
                let source = Source::of(case.from);
                authenticator.foresee(who, source, now()).await?
            }
        };
        let request = (&*case.method, &*case.url, case.from);
        let explanation = predicted(&explainer, request, &foresight).await;
        let fate = fate(case, &explanation).map_err(mistake)?;
        if holds(case, fate, &explanation) {
            continue;
        }
        let mut outcome = outcome(fate, &explanation);
        let has_networks = config.routes.iter().any(|route| route.from.is_some());
        if has_networks && explanation.client.is_none() && failed.len() < ADDRESSED {
            let whole = explained(config, request, &foresight).await;
            outcome.push_str(&unaddressed(case, &whole));
        }
        failed.push(Failure {
            line: case.line,
            request: format!("{} {}", case.method, case.url),
            who: case.who.clone(),
            from: case.from,
            expected: expected(case),
            outcome,
            route: deciding(fate, &explanation).cloned(),
        });
    }
    Ok(failed)
}

fn principal(who: &str, config: &Config) -> Result<Principal, String> {
    let limit = config.credential_headers.name_chars;
    let parts = split_user(who).ok();
    let who = parts.and_then(|(name, realm)| Principal::new(name, realm, limit).ok());
    who.ok_or_else(|| {
        format!("as: expected NAME@REALM of up to {limit} characters each, or nobody")
    })
}

/// Returns the outcome at the door of a case.
fn fate<'a>(case: &Case, explained: &'a Explained) -> Result<&'a Fate, String> {
    match case.door {
        Some(Door::Proxy) => {
            let proxy = explained.proxy.as_ref();
            proxy.ok_or_else(|| {
                "door = \"proxy\": the proxy is off (gateway.listen = \"off\")".into()
            })
        }
        Some(Door::ForwardAuth) => Ok(&explained.forward_auth),
        None => Ok(match &explained.proxy {
            Some(proxy) if explained.has_routes => proxy,
            _ => &explained.forward_auth,
        }),
    }
}

fn holds(case: &Case, fate: &Fate, explained: &Explained) -> bool {
    let is_expected = match &case.expected {
        Expected::Permit => fate.passes,
        Expected::Deny => !fate.passes,
        Expected::Reason(expected) => fate.reason.as_deref() == Some(expected),
    };
    let route = deciding(fate, explained);
    is_expected && (case.route.is_none() || case.route.as_ref() == route)
}

fn expected(case: &Case) -> String {
    let expected = match &case.expected {
        Expected::Permit => "permit",
        Expected::Deny => "deny",
        Expected::Reason(reason) => reason,
    };
    match &case.route {
        Some(route) => format!("{expected} by route {route:?}"),
        None => expected.to_owned(),
    }
}

/// Names the first route that does not match only because the address of the client is unknown.
fn unaddressed(case: &Case, explained: &Explained) -> String {
    let is_it = |tried: &&Tried| tried.misfits == [Misfit::Network];
    let Some(tried) = explained.routes.iter().find(is_it) else {
        return String::new();
    };
    let why = match case.from {
        None => "the case has no `from`".to_owned(),
        Some(from) => format!("{from} is the address of a front proxy or load balancer"),
    };
    format!("; route {:?} did not match, because {why}", tried.name)
}

/// Returns the route that decides. None decides about a path that servers read differently.
fn deciding<'a>(fate: &Fate, explained: &'a Explained) -> Option<&'a String> {
    let is_ambiguous = fate.reason.as_deref() == Some("ambiguous_path");
    explained.route.as_ref().filter(|_| !is_ambiguous)
}

/// Describes what happens to a request, and why.
fn outcome(fate: &Fate, explained: &Explained) -> String {
    let route = match deciding(fate, explained) {
        Some(route) => format!(" by route {route:?}"),
        None => String::new(),
    };
    let Some(reason) = &fate.reason else {
        return match &fate.observed {
            Some(reason) => format!("permit{route}, which only observes ({reason})"),
            None if explained.own => "permit, since realmgate serves this path itself".to_owned(),
            None if explained.has_routes => format!("permit{route}"),
            None => "permit, since there are no routes".to_owned(),
        };
    };
    let detail = fate.detail.as_ref();
    let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
    let policy = explained.policy.as_ref();
    let policy = policy.filter(|_| reason == "not_allowed");
    let policy = policy.map_or_else(String::new, |it| format!(", which allows {it}"));
    format!("{reason}{route}{policy}{detail}")
}

fn text(report: &Report, file: &Path) -> String {
    if report.failed.is_empty() {
        return match report.cases {
            1 => "1 case holds".to_owned(),
            many => format!("{many} cases hold"),
        };
    }
    let lines = report.failed.iter().map(|failure| {
        let who = failure.who.as_deref().unwrap_or("nobody");
        let from = failure.from;
        let from = from.map_or_else(String::new, |from| format!(" from {from}"));
        format!(
            "{}:{}: {} as {}{from}: expected {}, got {}",
            file.display(),
            failure.line,
            failure.request.escape_debug(),
            who.escape_debug(),
            failure.expected,
            failure.outcome
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
