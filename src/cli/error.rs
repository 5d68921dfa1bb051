use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::StatusCode;
use thiserror::Error;

use super::option_error::OptionError;
use super::who::shown;
use crate::audit::{AuditError, PositionsError, VerifyError};
use crate::auth::{
    ChangeError, IdentityId, ParametersError, PrincipalError, SeedError, StoreError, UnixTime,
};
use crate::client::{self, CredentialError};
use crate::comparison::{CompareError, Counts};
use crate::config::ConfigError;
use crate::doors::ListenError;
use crate::doors::v1::ProblemKind;
use crate::doors::v1::types::Problem;
use crate::import::{LEAST_BITS, ReadError, SourceError};
use crate::server::{ReloadError, StartError};
use crate::store;

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of `policy test` is wrong.
    #[error("{0}")]
    Cases(String),
    #[error("the change opens {}, closes {} and changes {}", .0.opens, .0.closes, .0.changes)]
    Differs(Counts),
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error("{0} of {1} cases do not hold")]
    CasesFail(usize, usize),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Reload(#[from] ReloadError),
    #[error("{}: is empty; perhaps it is being written", .0.display())]
    EmptyFile(PathBuf),
    #[error("internal error (panic): {0}")]
    Panicked(String),
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error("{0}\n{1}")]
    Connection(Box<store::OpenError>, &'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sealing(#[from] store::SealingError),
    #[error(transparent)]
    Backup(#[from] store::BackupError),
    #[error(transparent)]
    Copy(#[from] store::CopyError),
    #[error(
        "database {0}: is not a file; copy it with `pg_dump --format=custom`, and keep the key file apart from the copy"
    )]
    NoBackup(store::Location),
    #[error("{0} seeds cannot be decrypted")]
    Broken(usize),
    #[error("cannot disable core dumps, which would contain seeds")]
    Memory(#[source] io::Error),
    #[error(transparent)]
    Principal(#[from] PrincipalError),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error("the seed has only {0} bits; at least {least} are required", least = LEAST_BITS)]
    ShortSeed(usize),
    #[error(
        "the system clock is before 1970 or after 9999, so tokens cannot be computed; set the clock"
    )]
    Clock,
    #[error(transparent)]
    Options(#[from] OptionError),
    #[error(transparent)]
    Client(client::Error),
    #[error("{}", .0.text())]
    Problem(Box<Problem>),
    #[error("not a response of realmgate's administration API: {0}")]
    NoApi(StatusCode),
    /// An error of a command that ran on a server.
    #[error("{server}: {error}")]
    There {
        server: String,
        error: Box<CliError>,
    },
    #[error("the credential of {0} was rejected: no such administrator, or a wrong token or seed")]
    RejectedCaller(String),
    #[error("{0} may not do this: its realm is not that of the administrators")]
    NoRight(String),
    #[error("--server is missing")]
    NoServerGiven,
    #[error("a key has 1 to 256 visible ASCII characters")]
    BadKey,
    #[error("{}, line {number}: {why}", path.display())]
    Line {
        path: PathBuf,
        number: u64,
        why: String,
    },
    #[error("{failed} of {} identities were not created", .created + .failed)]
    NotCreated { created: u64, failed: u64 },
    #[error("no random number is available: {0}")]
    Random(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Import(#[from] ReadError),
    #[error("nothing was imported: the database changed meanwhile; try again")]
    Overtaken,
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("otlp.endpoint: cannot set up the trace exporter")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("log.access_file: cannot be opened")]
    Telemetry(#[source] io::Error),
    #[error("{0}: cannot be read")]
    Read(PathBuf, #[source] io::Error),
    #[error("{0}: cannot be written")]
    Write(PathBuf, #[source] io::Error),
    #[error("no identity {}", shown(name, realm))]
    NotFound { name: String, realm: String },
    #[error("identity {} already exists", shown(name, realm))]
    Taken { name: String, realm: String },
    #[error("the identity has changed meanwhile: look at it, and try again")]
    Stale,
    #[error(
        "the previous seed is valid until {}; another rotation would invalidate it now. Wait, or use --force.",
        humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(.0.as_secs()))
    )]
    StillCounts(UnixTime),
    #[error(
        "--expires: is in the past; to disable the identity now, use `realmgate identity disable`"
    )]
    ExpiresInThePast,
    #[error("--not-before: is not before --expires, so the identity could never authenticate")]
    NeverValid,
    #[error("the realm {realm} already has an identity: {} (id {})", shown(name, realm), id.0)]
    Initialised {
        name: String,
        realm: String,
        id: IdentityId,
    },
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("nothing was changed, because the audit log cannot be written")]
    Unloggable(#[source] AuditError),
    #[error("the change was made, but its line is not in the audit log")]
    Unaudited(#[source] AuditError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Positions recorded elsewhere cannot be read.
    #[error(transparent)]
    Noted(#[from] PositionsError),
    #[error("the audit log is broken in {0} places")]
    BrokenLog(usize),
    #[error("denied: {0}")]
    Denied(String),
    #[error("{many} {} (--strict)", if *.0 == 1 { "warning" } else { "warnings" }, many = .0)]
    Warned(usize),
    #[error(
        "{many} {} left out; `realmgate check --connect` says how to mend {}",
        if *.0 == 1 { "row was" } else { "rows were" },
        if *.0 == 1 { "it" } else { "them" },
        many = .0
    )]
    LeftOut(usize),
    #[error("--as: expected NAME@REALM")]
    NotAPrincipal,
    #[error("--door proxy: the proxy is off (gateway.listen = \"off\")")]
    NoProxy,
    #[error("--json is not supported by `realmgate {0}`")]
    NoData(&'static str),
    #[error("metrics.listen = \"off\": no listener can be asked for the health of the server")]
    NoMetrics,
    #[error("{0} does not respond")]
    NoHealth(SocketAddr, #[source] io::Error),
    #[error("not healthy: {0} {1}")]
    Unhealthy(u16, String),
    #[error(
        "process {0} is not a realmgate process; name the ready file of the server with --ready-file"
    )]
    NoServer(i32),
    #[error("process {pid}, which {path} names, is not a realmgate process: the server has ended")]
    EndedServer { path: PathBuf, pid: i32 },
    #[error("process {0} has rejected the configuration and keeps the old one: {1}")]
    Refused(i32, String),
    #[error(
        "process {0} got SIGHUP, but whether it has accepted the configuration is not known: {1}"
    )]
    NoOutcome(i32, String),
    #[error("process {0} cannot be signalled")]
    Signal(i32, #[source] io::Error),
    #[error("terminated by a second signal")]
    CutShort,
    #[error("{many} {}", if *.0 == 1 { "finding" } else { "findings" }, many = .0)]
    Findings(usize),
    #[error("{0}")]
    Doctor(&'static str),
    #[error("{0} does not respond")]
    Unexaminable(String, #[source] io::Error),
    #[error("there is no usable seed in {0}")]
    SeedFile(PathBuf, #[source] CredentialError),
    #[error("admin.listen is \"off\", so there is no admin page")]
    NoAdminPage,
    #[error(
        "admin.listen has no port of its own; name the ready file of the server with --ready-file"
    )]
    AdminPort,
    #[error(
        "principals of the realm {realm} do not administer identities; name one of the realm {admin}"
    )]
    NoAdministrator { realm: String, admin: String },
    #[error("the identity may not log in: it is disabled, or has just changed")]
    CannotLogIn,
    #[error("{0} responses of the tour were not as expected")]
    Tour(usize),
    #[error("the tour failed: {0}")]
    Demo(String),
}

impl CliError {
    /// Returns the exit code: 1 for denied, not found or existing; 2 for wrong usage or
    /// configuration; 3 for unreachable or failing resources; 4 for a second signal; 5 for a change
    /// without its audit line; 6 for a list that is not complete.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. }
            | Self::Taken { .. }
            | Self::Stale
            | Self::StillCounts(_)
            | Self::Initialised { .. }
            | Self::BrokenLog(_)
            | Self::Denied(_)
            | Self::CasesFail(..)
            | Self::Differs(..)
            | Self::Backup(store::BackupError::Exists(_))
            | Self::Copy(store::CopyError::NotEmpty(..) | store::CopyError::InUse(..))
            | Self::Overtaken
            | Self::NotCreated { .. }
            | Self::Broken(_)
            | Self::Unhealthy(..)
            | Self::Refused(..)
            | Self::Findings(_)
            | Self::CannotLogIn
            | Self::RejectedCaller(_)
            | Self::NoRight(_)
            | Self::Tour(_) => 1,
            Self::There { error, .. } => error.exit_code(),
            Self::Client(error) => match error {
                client::Error::Rejected(_)
                | client::Error::NotAllowed { .. }
                | client::Error::NotFound { .. }
                | client::Error::Invalid(_) => 1,
                client::Error::Unreachable { .. }
                | client::Error::Timeout { .. }
                | client::Error::Broken { .. }
                | client::Error::NoNumber { .. }
                | client::Error::Unavailable
                | client::Error::Unexpected { .. } => 3,
            },
            Self::Problem(problem) => match problem.status {
                503 if problem.kind == ProblemKind::Unlogged.uri() => 5,
                500.. => 3,
                400 | 413 | 415 | 422 => 2,
                _ => 1,
            },
            Self::Import(error) => match error {
                ReadError::Connect { .. }
                | ReadError::Late(_)
                | ReadError::Changed(_)
                | ReadError::Start(_)
                | ReadError::BrokenOff => 3,
                _ => 2,
            },
            Self::Config(_)
            | Self::Cases(_)
            | Self::Compare(_)
            | Self::Options(_)
            | Self::ExpiresInThePast
            | Self::NeverValid
            | Self::Reload(_)
            | Self::Source(_)
            | Self::Principal(_)
            | Self::Parameters(_)
            | Self::Seed(_)
            | Self::ShortSeed(_)
            | Self::Verify(_)
            | Self::Noted(_)
            | Self::NotAPrincipal
            | Self::NoProxy
            | Self::NoAdminPage
            | Self::AdminPort
            | Self::NoAdministrator { .. }
            | Self::NoServerGiven
            | Self::BadKey
            | Self::Line { .. }
            | Self::NoBackup(_)
            | Self::NoMetrics
            | Self::NoData(_)
            | Self::Warned(_)
            | Self::Doctor(_)
            | Self::SeedFile(..)
            | Self::Read(..)
            | Self::Start(StartError::Config(_)) => 2,
            Self::CutShort => 4,
            Self::Unaudited(_) => 5,
            Self::LeftOut(_) => 6,
            Self::Connection(error, _) if error.is_configuration() => 2,
            Self::Connection(..) => 3,
            Self::Open(error)
            | Self::Start(StartError::Store(error))
            | Self::Backup(store::BackupError::Open(error))
            | Self::Copy(store::CopyError::Open(error)) => {
                if error.is_configuration() {
                    2
                } else {
                    3
                }
            }
            Self::Sealing(error) => {
                if error.is_configuration() {
                    2
                } else {
                    3
                }
            }
            Self::Start(StartError::Listen(ListenError::Bind { .. }))
            | Self::Start(_)
            | Self::Store(_)
            | Self::Backup(_)
            | Self::Copy(_)
            | Self::Memory(_)
            | Self::Clock
            | Self::Runtime(_)
            | Self::EmptyFile(_)
            | Self::Panicked(_)
            | Self::Audit(_)
            | Self::Unloggable(_)
            | Self::Telemetry(_)
            | Self::Traces(_)
            | Self::Write(..)
            | Self::NoHealth(..)
            | Self::Unexaminable(..)
            | Self::NoServer(_)
            | Self::EndedServer { .. }
            | Self::NoOutcome(..)
            | Self::Signal(..)
            | Self::NoApi(_)
            | Self::Random(_)
            | Self::Demo(_) => 3,
        }
    }

    pub(super) fn of_change(error: ChangeError, name: &str, realm: &str) -> Self {
        match error {
            ChangeError::Taken => Self::Taken {
                name: name.to_owned(),
                realm: realm.to_owned(),
            },
            ChangeError::Stale => Self::Stale,
            ChangeError::Store(error) => Self::Store(error),
        }
    }
}
