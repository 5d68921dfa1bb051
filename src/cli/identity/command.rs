//! The options of the commands.

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};

use super::terms::TermsArgs;
use crate::auth::{Algorithm, Listing, Seed, Selection, State, UnixTime};
use crate::cli::error::CliError;
use crate::cli::option_error::OptionError;
use crate::cli::output::message;
use crate::cli::remote::{Remote, Server, Target};
use crate::cli::secret;
use crate::cli::who::{Named, Who};
use crate::doors::v1::types::{Condition, Sort};
use crate::import::{FEW_BITS, LEAST_BITS};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Create an identity and print its seed, once; with --from, create many identities
    Create(Box<Create>),
    /// Change the validity period or the comment of an identity
    #[command(group = ArgGroup::new("change").args(["not_before", "expires", "comment"]).required(true).multiple(true))]
    Set {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        terms: TermsArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// List identities, without their seeds
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print all identities as JSON, one per line, without their seeds
    Export {
        /// Print only the identities of this realm
        #[arg(long)]
        realm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one identity, without its seed
    Show(One),
    /// Replace the seed of an identity and print the new one, once
    Rotate {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        seed: NewSeed,
        /// How long the old seed stays valid, such as 7d
        #[arg(long, value_name = "DURATION")]
        grace: Option<humantime::Duration>,
        /// Rotate even if the previous seed is still valid; that seed becomes invalid at once
        #[arg(long)]
        force: bool,
    },
    /// Clear the failures of an identity, so that it is no longer throttled
    Unthrottle(One),
    /// Disable an identity
    Disable(One),
    /// Enable a disabled identity
    Enable(One),
    /// Delete an identity
    Delete(One),
}

/// Which identities to list, and in which order.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct Which {
    /// Only identities of this realm
    #[arg(long)]
    pub(in crate::cli) realm: Option<String>,
    /// Only those in this state: enabled or disabled
    #[arg(long, value_parser = ["enabled", "disabled"])]
    pub(in crate::cli) state: Option<String>,
    /// Only enabled ones that are expiring (within 30 days), unused (for 90 days), weak (a seed below 128 bits) or
    /// clock-off (the last token was of another step)
    #[arg(long)]
    pub(in crate::cli) condition: Option<Condition>,
    /// Sort by id, name, realm, last_used or expires; a minus reverses it, as in --sort=-expires
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
    pub(in crate::cli) sort: Option<Sort>,
}

impl Which {
    /// Returns the query for a server; each parameter begins with `&`.
    pub(super) fn query(&self) -> String {
        let parameters = [
            ("realm", self.realm.as_deref()),
            ("state", self.state.as_deref()),
            ("condition", self.condition.map(Condition::as_str)),
            ("sort", self.sort.map(Sort::as_str)),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in parameters {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        let query = query.finish();
        if query.is_empty() {
            query
        } else {
            format!("&{query}")
        }
    }

    /// Returns the first page of a list of the local database.
    pub(super) fn listing(&self, limit: u32, now: UnixTime) -> Listing {
        let (order, is_descending) = self.sort.unwrap_or_default().in_core();
        Listing {
            selection: Selection {
                realm: self.realm.as_deref().map(Into::into),
                name: None,
                state: self.state.as_deref().map(|state| match state {
                    "disabled" => State::Disabled,
                    _ => State::Enabled,
                }),
            },
            condition: self.condition.map(Condition::in_core),
            order,
            is_descending,
            after: None,
            limit,
            now,
        }
    }
}

/// One identity, here or on a server.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct One {
    #[command(flatten)]
    pub(super) who: Who,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Create {
    /// Identity; split at the last `@`
    #[arg(
        value_name = "NAME@REALM",
        required_unless_present_any = ["name", "realm", "from"],
        conflicts_with_all = ["name", "realm", "from"]
    )]
    identity: Option<Named>,
    /// Name; with --realm, in place of NAME@REALM
    #[arg(long, requires = "realm")]
    name: Option<String>,
    /// Realm, which may contain an `@`, unlike in NAME@REALM
    #[arg(long, requires = "name")]
    realm: Option<String>,
    /// Create the identities in this file, or `-` for standard input: each line is NAME@REALM, or a JSON object with
    /// the members that POST /v1/identities takes. Lines of `identity export` get a new id and a new seed; those that
    /// are disabled are not created
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "name", "realm", "new_seed_file", "algorithm", "digits", "period", "not_before", "expires", "comment"
        ]
    )]
    pub(super) from: Option<PathBuf>,
    /// With --from and --server: continue a run that was interrupted, with the key that it printed, which has 32
    /// hexadecimal digits
    #[arg(long, value_name = "KEY", requires = "from", requires = "server", value_parser = key)]
    pub(super) resume: Option<String>,
    #[command(flatten)]
    pub(super) seed: NewSeed,
    /// Hash algorithm: SHA1, SHA256 or SHA512 [default: totp.algorithm]
    #[arg(long)]
    pub(super) algorithm: Option<Algorithm>,
    /// Number of digits of a token, 6 to 8 [default: totp.digits]
    #[arg(long)]
    pub(super) digits: Option<u8>,
    /// Length of a time step in seconds, 1 to 3600 [default: totp.period]
    #[arg(long)]
    pub(super) period: Option<u16>,
    #[command(flatten)]
    pub(super) terms: TermsArgs,
}

impl Create {
    fn server(&self) -> Result<Option<Server>, CliError> {
        let is_here = !self.seed.target.is_given();
        if self.from.is_some() && is_here && self.seed.seed_file.is_some() {
            let option = "--seed-file without --server";
            let action = "--from; give the seed in each line, as JSON";
            return Err(OptionError::Meaningless { option, action }.into());
        }
        if is_stdin(self.from.as_ref()) && is_stdin(self.seed.seed_file.as_ref()) {
            return Err(OptionError::StdinTwice("--from", "--seed-file").into());
        }
        self.seed.server()
    }

    pub(super) fn name(&self) -> &str {
        let named = self.identity.as_ref().map(|it| &it.name);
        named.or(self.name.as_ref()).map_or("", String::as_str)
    }

    pub(super) fn realm(&self) -> &str {
        let named = self.identity.as_ref().map(|it| &it.realm);
        named.or(self.realm.as_ref()).map_or("", String::as_str)
    }
}

/// Reads the key of a run. Another value would begin a new run instead.
fn key(text: &str) -> Result<String, &'static str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match text.len() == 32 && text.bytes().all(is_digit) {
        true => Ok(text.to_owned()),
        false => Err("expected the key that the interrupted run printed: 32 digits 0-9 and a-f"),
    }
}

/// Returns whether an option reads standard input.
fn is_stdin(path: Option<&PathBuf>) -> bool {
    path.is_some_and(|path| path.as_os_str() == "-")
}

/// The new seed of an identity, and the server on which it is.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NewSeed {
    /// Read the seed from a file, or `-` for standard input, instead of generating one. With --server, this is
    /// the seed of the administrator; use --new-seed-file for that of the identity
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    seed_file: Option<PathBuf>,
    /// Read the new seed of the identity from a file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    new_seed_file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl NewSeed {
    pub(super) fn server(&self) -> Result<Option<Server>, CliError> {
        if is_stdin(self.seed_file.as_ref()) && is_stdin(self.new_seed_file.as_ref()) {
            return Err(OptionError::StdinTwice("--seed-file", "--new-seed-file").into());
        }
        self.target.server(self.seed_file.as_deref())
    }

    /// Returns the new seed, if one is given.
    pub(super) fn given(&self, is_remote: bool) -> Result<Option<Seed>, CliError> {
        let own = self.seed_file.as_ref().filter(|_| !is_remote);
        let path = match (&self.new_seed_file, own) {
            (Some(_), Some(_)) => {
                let option = "--seed-file beside --new-seed-file";
                let action = "a command without --server";
                return Err(OptionError::Meaningless { option, action }.into());
            }
            (path, own) => path.as_ref().or(own),
        };
        let Some(path) = path else {
            return Ok(None);
        };
        let seed = secret::seed_file(path)?.seed();
        let bits = seed.as_bytes().len() * 8;
        if bits < LEAST_BITS {
            return Err(CliError::ShortSeed(bits));
        }
        if bits < FEW_BITS {
            message(&format!(
                "the seed has only {bits} bits and can be computed from a few tokens; use a longer one"
            ));
        }
        Ok(Some(seed))
    }
}

impl Command {
    /// Returns the server on which to run; `None` for the local database.
    pub(super) fn server(&self) -> Result<Option<Server>, CliError> {
        match self {
            Self::Create(create) => create.server(),
            Self::Rotate { seed, .. } => seed.server(),
            Self::Set { remote, .. } | Self::List { remote, .. } | Self::Export { remote, .. } => {
                remote.server()
            }
            Self::Show(one)
            | Self::Unthrottle(one)
            | Self::Disable(one)
            | Self::Enable(one)
            | Self::Delete(one) => one.remote.server(),
        }
    }
}
