use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use super::error::CliError;
use super::option_error::OptionError;
use super::output::Output;
use super::secret;
use super::setup::runtime;
use super::who::Named;
use crate::client::{Caller, Client, Error as ClientError, Proof, Registered};

/// Options may be given before or after the action, in any order.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Action to perform
    action: Action,
    /// The identity, instead of --name and --realm; split at the last `@`
    #[arg(value_name = "NAME@REALM", conflicts_with_all = ["name", "realm"])]
    identity: Option<Named>,
    /// URL of the server: `https://otp.example.org`, with or without `/ungleichotp/`
    #[arg(long, value_name = "URL", env = "UNGLEICHOTPSERVER")]
    server_url: Option<String>,
    /// Name of the caller
    #[arg(long, value_name = "NAME", env = "UNGLEICHOTPNAME")]
    auth_name: Option<String>,
    /// Realm of the caller
    #[arg(long, value_name = "REALM", env = "UNGLEICHOTPREALM")]
    auth_realm: Option<String>,
    /// Seed of the caller: base32, an otpauth:// URL, or the JSON of `realmgate identity create`; `-` reads it from
    /// standard input, so that `ps` does not show it; without seed and token, UNGLEICHOTPSEED is used
    #[arg(long, value_name = "SEED", conflicts_with_all = ["auth_token", "auth_seed_file"])]
    auth_seed: Option<String>,
    /// File with the seed of the caller
    #[arg(long, value_name = "FILE", conflicts_with = "auth_token")]
    auth_seed_file: Option<PathBuf>,
    /// Token of the caller, instead of the seed; valid for a minute or less by default
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<String>,
    /// Name of the identity (all actions except list)
    #[arg(long)]
    name: Option<String>,
    /// Realm of the identity (all actions except list)
    #[arg(long)]
    realm: Option<String>,
    /// Token of the identity (verify only)
    #[arg(long, conflicts_with_all = ["seed", "seed_file"])]
    token: Option<String>,
    /// Seed of the identity, in the same forms, to verify its current token (verify only)
    #[arg(long, conflicts_with = "seed_file")]
    seed: Option<String>,
    /// File with the seed of the identity, to verify its current token (verify only)
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
    /// New name (update only)
    #[arg(long, value_name = "NAME")]
    new_name: Option<String>,
    /// New realm (update only)
    #[arg(long, value_name = "REALM")]
    new_realm: Option<String>,
    /// Request timeout in seconds, 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Create an identity and print its seed, once
    Create,
    /// List identities
    List,
    /// Change the name or realm of an identity
    Update,
    /// Delete an identity
    Delete,
    /// Verify a principal's token
    Verify,
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args")
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    args.check()?;
    let client = args.client()?;
    runtime()?.block_on(async {
        match args.action {
            Action::Create => {
                let (name, realm) = args.who()?;
                let created = client.create(name, realm).await?;
                output.print(&created, || shown(&created));
            }
            Action::List => {
                let all = client.list().await?;
                output.print(&all, || {
                    let lines: Vec<String> = all.iter().map(shown).collect();
                    lines.join("\n")
                });
            }
            Action::Update => {
                let (name, realm) = args.who()?;
                let (to_name, to_realm) = (args.new_name.as_deref(), args.new_realm.as_deref());
                let changed = client.update(name, realm, to_name, to_realm).await?;
                output.print(&changed, || shown(&changed));
            }
            Action::Delete => {
                let (name, realm) = args.who()?;
                let deleted = client.delete(name, realm).await?;
                output.print(
                    &json!({ "id": deleted.id, "name": name, "realm": realm }),
                    || format!("deleted {}", shown(&deleted)),
                );
            }
            Action::Verify => {
                let (name, realm) = args.who()?;
                client.verify(name, realm, &args.proof()?).await?;
                output.print(&json!({ "status": "OK" }), || format!("OK {name}@{realm}"));
            }
        }
        Ok(())
    })
}

impl Args {
    /// Rejects options that the action does not use, because they show a misunderstanding.
    fn check(&self) -> Result<(), OptionError> {
        let about_one = self.action != Action::List;
        let update = self.action == Action::Update;
        let verify = self.action == Action::Verify;
        for (option, given, read) in [
            ("NAME@REALM", self.identity.is_some(), about_one),
            ("--name", self.name.is_some(), about_one),
            ("--realm", self.realm.is_some(), about_one),
            ("--token", self.token.is_some(), verify),
            ("--seed", self.seed.is_some(), verify),
            ("--seed-file", self.seed_file.is_some(), verify),
            ("--new-name", self.new_name.is_some(), update),
            ("--new-realm", self.new_realm.is_some(), update),
        ] {
            if given && !read {
                let action = match self.action {
                    Action::Create => "create",
                    Action::List => "list",
                    Action::Update => "update",
                    Action::Delete => "delete",
                    Action::Verify => "verify",
                };
                return Err(OptionError::Meaningless { option, action });
            }
        }
        if about_one {
            self.who()?;
        }
        if update && self.new_name.is_none() && self.new_realm.is_none() {
            return Err(OptionError::Missing("--new-name or --new-realm"));
        }
        let is_given = self.token.is_some() || self.seed.is_some() || self.seed_file.is_some();
        if verify && !is_given {
            return Err(OptionError::Missing("--token, --seed or --seed-file"));
        }
        let reads = |seed: &Option<String>, file: &Option<PathBuf>| {
            seed.as_deref() == Some("-") || file.as_deref() == Some(Path::new("-"))
        };
        if reads(&self.auth_seed, &self.auth_seed_file) && reads(&self.seed, &self.seed_file) {
            return Err(OptionError::StdinTwice("--auth-seed", "--seed"));
        }
        Ok(())
    }

    fn client(&self) -> Result<Client, CliError> {
        let url = given(
            self.server_url.as_deref(),
            "--server-url (or UNGLEICHOTPSERVER)",
        )?;
        let name = given(
            self.auth_name.as_deref(),
            "--auth-name (or UNGLEICHOTPNAME)",
        )?;
        let realm = given(
            self.auth_realm.as_deref(),
            "--auth-realm (or UNGLEICHOTPREALM)",
        )?;
        const FILE: &str = "--auth-seed-file";
        let proof = match (&self.auth_token, &self.auth_seed, &self.auth_seed_file) {
            (Some(token), ..) => Proof::token(token),
            (None, Some(seed), _) => secret::seed("--auth-seed", seed, FILE)?.into(),
            (None, None, Some(path)) => secret::seed_file(path)?.into(),
            (None, None, None) => {
                let seed = std::env::var_os("UNGLEICHOTPSEED").map(OsString::into_string);
                match seed {
                    Some(Ok(seed)) if !seed.is_empty() => {
                        secret::seed("UNGLEICHOTPSEED", &seed, FILE)?.into()
                    }
                    Some(Err(_)) => secret::seed("UNGLEICHOTPSEED", "", FILE)?.into(),
                    _ => {
                        return Err(OptionError::Missing(
                            "--auth-seed-file, --auth-seed or --auth-token (or UNGLEICHOTPSEED)",
                        )
                        .into());
                    }
                }
            }
        };
        let client =
            Client::new(url, Caller::new(name, realm, proof)).map_err(OptionError::from)?;
        Ok(client.with_timeout(Duration::from_secs(self.timeout)))
    }

    fn who(&self) -> Result<(&str, &str), OptionError> {
        let (name, realm) = match &self.identity {
            Some(named) => (Some(&named.name), Some(&named.realm)),
            None => (self.name.as_ref(), self.realm.as_ref()),
        };
        Ok((
            given(name.map(String::as_str), "--name")?,
            given(realm.map(String::as_str), "--realm")?,
        ))
    }

    fn proof(&self) -> Result<Proof, CliError> {
        match (&self.token, &self.seed, &self.seed_file) {
            (Some(token), ..) => Ok(Proof::token(token)),
            (None, Some(seed), _) => Ok(secret::seed("--seed", seed, "--seed-file")?.into()),
            (None, None, Some(path)) => Ok(secret::seed_file(path)?.into()),
            (None, None, None) => {
                Err(OptionError::Missing("--token, --seed or --seed-file").into())
            }
        }
    }
}

/// Treats an empty value, as of an empty variable, as missing.
fn given<'a>(value: Option<&'a str>, option: &'static str) -> Result<&'a str, OptionError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(OptionError::Missing(option))
}

fn shown(identity: &Registered) -> String {
    let Registered {
        id, name, realm, ..
    } = identity;
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut text = format!("{id:>6}  {}@{}", name.escape_debug(), realm.escape_debug());
    if let Some(seed) = &identity.seed {
        text.push_str("  ");
        text.extend(seed.escape_debug());
    }
    text
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
