//! The command line: one file per command.

mod admin;
mod audit;
mod backup;
mod check;
mod client;
mod completions;
mod connection;
mod demo;
mod doctor;
mod error;
mod explain;
mod healthcheck;
mod identity;
mod import;
mod init;
mod key;
mod local_store;
mod man;
mod memory;
mod monitor;
mod nobody;
mod option_error;
mod output;
mod policy;
mod ready_file;
mod reload;
mod remote;
mod rows;
mod secret;
mod serve;
mod setup;
mod signals;
mod status;
mod store;
mod token;
mod who;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::clock;
use error::CliError;
use output::Output;
use signals::{Early, survive_long_files};

/// The variables that no option names.
const ENVIRONMENT: &str = "\
Environment:
  REALMGATE_<SECTION>_<KEY>  Overrides a key of the configuration: REALMGATE_STORE_URL for url in [store]
  REALMGATE_SEED             Seed for the command token; or a file with it: REALMGATE_SEED_FILE
  PGPASSWORD                 Password of the PostgreSQL role, if the configuration names no file
  CREDENTIALS_DIRECTORY      Credentials of systemd: realmgate.key and realmgate.pgpassword
  SSL_CERT_FILE              CA certificates of other servers, in place of those of the system
  NO_COLOR                   Switches colors off";

/// Authentication gateway for services with time-based tokens: proxy, forward-auth and REST
///
/// Exit codes: 0 success; 1 denied, not found, or already exists; 2 wrong usage or configuration;
/// 3 something is unreachable; 4 terminated by a second signal; 5 the change was made but is not in the audit log;
/// 6 rows of the database that are no identities were left out of the list.
#[derive(Debug, Parser)]
#[command(name = "realmgate", version, max_term_width = 100, after_long_help = ENVIRONMENT)]
struct Cli {
    /// Configuration file; without one, every setting has its default
    #[arg(long, global = true, env = "REALMGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON; serve, demo, completions and man do not support it
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a demonstration with an embedded database, and send requests to the three doors
    Demo(demo::Args),
    /// Run the server
    Serve(serve::Args),
    /// Make a running server read its configuration again
    ///
    /// First validates the configuration of this command (--config). If it is valid, sends SIGHUP to the server. Exit
    /// codes: 0 SIGHUP sent, see the server's log for the outcome; 2 wrong usage or configuration; 3 no such server.
    Reload(reload::Args),
    /// Check whether a running server is ready: exit code 0 if it is, 1 if not, 3 if it does not respond
    Healthcheck(healthcheck::Args),
    /// Validate the configuration and print what it means
    Check(check::Args),
    /// Show which route and rule would decide a request, and why, without sending it
    ///
    /// Exit codes: 0 allowed; 1 denied; 2 wrong usage or configuration; 3 the database cannot be read
    /// (with --caller).
    Explain(explain::Args),
    /// Test the routes, and show what a change of them opens and closes
    #[command(subcommand)]
    Policy(policy::Command),
    /// Examine a deployment from outside, and name each problem and the configuration line to change
    ///
    /// Sends requests as callers and attackers would: with good, wrong and missing credentials, forged headers,
    /// ambiguous paths, other methods and other request targets. Exit codes: 0 no problem found; 1 problems found;
    /// 2 wrong usage; 3 no response.
    Doctor(doctor::Args),
    /// Log in to the admin page
    #[command(subcommand)]
    Admin(admin::Command),
    /// Create the first administrator and print its seed, once
    Init(init::Args),
    /// Manage identities, in the local database or on a server (--server)
    #[command(subcommand)]
    Identity(identity::Command),
    /// Manage the keys that encrypt the seeds
    #[command(subcommand)]
    Key(key::Command),
    /// Copy an SQLite database to a file, even while the server runs
    Backup(backup::Args),
    /// Move from SQLite to PostgreSQL, or back
    #[command(subcommand)]
    Store(store::Command),
    /// Verify audit logs
    #[command(subcommand)]
    Audit(audit::Command),
    /// Import identities from another system
    #[command(subcommand)]
    Import(import::Command),
    /// Show the state of a server
    Status(status::Args),
    /// Call the REST API of realmgate or ungleich-otp
    Client(client::Args),
    /// Print the current token of a seed and, on standard error, how long it remains valid
    Token(token::Args),
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Write the manual pages into a directory
    Man(man::Args),
}

impl Command {
    /// Returns the name of a command that has no JSON output.
    const fn without_data(&self) -> Option<&'static str> {
        match self {
            Self::Demo(_) => Some("demo"),
            Self::Serve(_) => Some("serve"),
            Self::Completions(_) => Some("completions"),
            Self::Man(_) => Some("man"),
            Self::Check(_)
            | Self::Doctor(_)
            | Self::Explain(_)
            | Self::Policy(_)
            | Self::Healthcheck(_)
            | Self::Admin(_)
            | Self::Init(_)
            | Self::Identity(_)
            | Self::Key(_)
            | Self::Backup(_)
            | Self::Store(_)
            | Self::Audit(_)
            | Self::Import(_)
            | Self::Client(_)
            | Self::Status(_)
            | Self::Reload(_)
            | Self::Token(_) => None,
        }
    }
}

/// Returns the definition of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and returns the exit code.
pub fn run() -> ExitCode {
    // Handle signals from the start if the command may be `serve`.
    let may_serve = std::env::args_os().any(|argument| argument == "serve");
    let early = may_serve.then(Early::listen).transpose();
    let early = early.and_then(|early| survive_long_files().map(|()| early));
    memory::disable_huge_pages();
    let cli = Cli::try_parse().unwrap_or_else(|error| with_hint(error).exit());
    let output = Output::new(cli.json);
    let done = memory::protect().map_err(CliError::Memory).and_then(|()| {
        let early = early.map_err(CliError::Runtime)?;
        match clock::is_usable(SystemTime::now()) {
            true => execute(cli, early, output),
            // Libraries that format times would panic.
            false => Err(CliError::Clock),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Adds to an error in the command line where the configuration file belongs.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let found = error.get(ContextKind::InvalidArg);
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = found
        && argument.ends_with(".toml")
    {
        let hint = format!("name the configuration file with --config {argument}");
        let hint = ContextValue::StyledStrs(vec![hint.into()]);
        error.insert(ContextKind::Suggested, hint);
    }
    error
}

fn execute(cli: Cli, early: Option<Early>, output: Output) -> Result<(), CliError> {
    if let Some(command) = cli.command.without_data().filter(|_| cli.json) {
        return Err(CliError::NoData(command));
    }
    let config = cli.config.as_deref();
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(&args, config, early),
        Command::Reload(args) => reload::run(&args, config, output),
        Command::Healthcheck(args) => healthcheck::run(&args, config, output),
        Command::Check(args) => check::run(&args, config, output),
        Command::Explain(args) => explain::run(&args, config, output),
        Command::Policy(command) => policy::run(&command, config, output),
        Command::Doctor(args) => doctor::run(&args, output),
        Command::Admin(command) => admin::run(&command, config, output),
        Command::Init(args) => init::run(&args, config, output),
        Command::Identity(command) => identity::run(command, config, output),
        Command::Key(command) => key::run(&command, config, output),
        Command::Status(args) => status::run(&args, output),
        Command::Backup(args) => backup::run(&args, config, output),
        Command::Store(command) => store::run(&command, config, output),
        Command::Audit(command) => audit::run(&command, output),
        Command::Import(command) => import::run(&command, config, output),
        Command::Client(args) => client::run(&args, output),
        Command::Token(args) => token::run(&args, output),
        Command::Completions(args) => {
            completions::run(&args, command());
            Ok(())
        }
        Command::Man(args) => man::run(&args, command()),
    }
}
