//! Creates and exports many identities.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::new;
use super::row::{Shown, print};
use crate::audit::{Actor, Event, Kind};
use crate::auth::{Created, Creation, split_user};
use crate::cli::error::CliError;
use crate::cli::local_store::{LocalStore, now, patiently};
use crate::cli::output::{Output, Progress, line, message};
use crate::cli::remote::{self, Server};
use crate::client::shown_path;
use crate::doors::v1::types::{Identity, NewIdentity, NewParameters, State};
use crate::doors::v1::{ProblemKind, Timestamp, new_identity};

/// The number of identities per request, and per transaction.
const BATCH: usize = 500;

/// The maximum length of a line in bytes.
const LINE: u64 = 16 << 10;

/// The space for an audit line.
const AUDIT_LINE: u64 = 8 << 10;

/// Why an identity is not created.
const TAKEN: &str = "this identity exists already";
const DISABLED: &str = "not created, because it is disabled there; remove \"state\" from the line to create it enabled";

/// The next identities, with the lines that they are from.
type Batch = Vec<(Place, NewIdentity)>;

/// A line that names an identity.
struct Place {
    number: u64,
    who: String,
}

/// Prints an identity as JSON.
pub(super) fn export(identity: &Identity) {
    line(&serde_json::to_string(identity).unwrap_or_default());
}

/// Creates the identities of a file in the local database.
pub(super) async fn create_here(
    local: &LocalStore,
    path: &Path,
    output: Output,
) -> Result<(), CliError> {
    let mut lines = Lines::open(path)?;
    let mut count = Count::new(output);
    while let Some(batch) = lines.batch(&mut count)? {
        let mut creations = Vec::new();
        for (at, new) in batch {
            match new_identity(&local.config, new, now()) {
                Ok(new) => creations.push((at, Creation { new, once: None })),
                Err(problem) => count.failed(&at, &problem.text()),
            }
        }
        local.ready(AUDIT_LINE * creations.len() as u64).await?;
        let (places, creations): (Vec<_>, Vec<_>) = creations.into_iter().unzip();
        let seeds = creations.iter().map(|it| it.new.seed.clone());
        let seeds: Vec<_> = places.into_iter().zip(seeds).collect();
        let creating = local.store.create_all(creations, now());
        let created = patiently(&mut count.progress, creating).await;
        let created = created.map_err(|error| CliError::of_change(error, "", ""))?;
        let mut new = Vec::new();
        for ((at, seed), created) in seeds.iter().zip(created) {
            match created {
                Created::New(identity) => {
                    count.created();
                    new::print(local, &identity, seed, output);
                    new.push(identity);
                }
                _ => count.failed(at, TAKEN),
            }
        }
        let events: Vec<_> = new
            .iter()
            .map(|identity| Event {
                subject: Some(identity.principal.as_ref()),
                id: Some(identity.id),
                actor: Some(Actor::user()),
                ..Event::new(Kind::IdentityCreated)
            })
            .collect();
        local.record_all(&events).await?;
    }
    count.end()
}

/// Creates the identities of a file on a server.
pub(super) async fn create_there(
    server: &Server,
    path: &Path,
    resume: Option<&str>,
    output: Output,
) -> Result<(), CliError> {
    let mut lines = Lines::open(path)?;
    let mut count = Count::new(output);
    let key = match resume {
        Some(key) => key.to_owned(),
        None => format!("{:032x}", random()?),
    };
    // To the server, a name that is there again in another request looks like a repetition.
    let mut created = HashSet::new();
    while let Some(mut batch) = lines.batch(&mut count)? {
        batch.retain(|(at, new)| {
            let is_again = created.contains(&principal(new));
            if is_again {
                count.failed(at, TAKEN);
            }
            !is_again
        });
        if batch.is_empty() {
            continue;
        }
        let new: Vec<_> = batch.iter().map(|(_, new)| new.clone()).collect();
        let outcomes = remote::bulk(server, &key, &new).await.inspect_err(|_| {
            message(&format!("to continue, run it again with --resume {key}"));
        })?;
        for ((at, new), outcome) in batch.iter().zip(outcomes) {
            match (outcome.identity, outcome.problem) {
                (Some(identity), _) => {
                    created.insert(principal(new));
                    count.created();
                    print(&identity, Shown::Plain, output);
                }
                (None, Some(problem)) if problem.kind == ProblemKind::Taken.uri() => {
                    count.failed(at, TAKEN);
                }
                (None, Some(problem)) => count.failed(at, &problem.text()),
                (None, None) => count.failed(at, "the server does not say why"),
            }
        }
    }
    count.end()
}

fn principal(new: &NewIdentity) -> (String, String) {
    (new.name.clone(), new.realm.clone())
}

fn random() -> Result<u128, CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| CliError::Random(error.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// The lines of a file, which may hold seeds.
struct Lines {
    file: Box<dyn BufRead>,
    path: std::path::PathBuf,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, CliError> {
        let file: Box<dyn BufRead> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path);
            let file = file.map_err(|error| CliError::Read(shown_path(path).to_owned(), error))?;
            Box::new(BufReader::new(file))
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            number: 0,
        })
    }

    /// Reads the next identities with the numbers of their lines; `None` at the end.
    ///
    /// # Errors
    /// A line is none of an identity, or the file cannot be read.
    fn batch(&mut self, count: &mut Count) -> Result<Option<Batch>, CliError> {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH {
            let mut text = Zeroizing::new(String::new());
            let read = self.file.by_ref().take(LINE).read_line(&mut text);
            let read = read.map_err(|error| CliError::Read(self.path.clone(), error))?;
            if read == 0 {
                break;
            }
            self.number += 1;
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let (new, is_disabled) = self.parse(text)?;
            let at = Place {
                number: self.number,
                who: format!("{:?} in realm {:?}", new.name, new.realm),
            };
            match is_disabled {
                // Nobody would expect that it may authenticate.
                true => count.failed(&at, DISABLED),
                false => batch.push((at, new)),
            }
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }

    /// Returns the identity of a line, and whether the line says that it is disabled.
    fn parse(&self, text: &str) -> Result<(NewIdentity, bool), CliError> {
        let path = match self.path.as_os_str() == "-" {
            true => "standard input".into(),
            false => self.path.clone(),
        };
        let wrong = |why: String| CliError::Line {
            path: path.clone(),
            number: self.number,
            why,
        };
        if text.starts_with('{') {
            let parsed = serde_json::from_str::<Listed>(text);
            let parsed = parsed.map_err(|error| {
                // The message names a member and a column, never a value. The file has the line.
                wrong(error.to_string().replace(" at line 1 column", " at column"))
            })?;
            return Ok(parsed.into_new());
        }
        let named = split_user(text);
        let (name, realm) = named.map_err(|_| wrong("expected NAME@REALM or JSON".to_owned()))?;
        let new = NewIdentity {
            name: name.to_owned(),
            realm: realm.to_owned(),
            ..NewIdentity::default()
        };
        Ok((new, false))
    }
}

/// A line of JSON: an identity to create, or one that `identity export` has printed. What a new
/// identity does not take over from that is ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    realm: String,
    not_before: Option<Timestamp>,
    expires: Option<Timestamp>,
    comment: Option<String>,
    parameters: Option<NewParameters>,
    seed: Option<String>,
    state: Option<State>,
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "created")]
    _created: Option<IgnoredAny>,
    #[serde(rename = "updated")]
    _updated: Option<IgnoredAny>,
    #[serde(rename = "seeds")]
    _seeds: Option<IgnoredAny>,
    #[serde(rename = "throttle")]
    _throttle: Option<IgnoredAny>,
}

impl Listed {
    fn into_new(self) -> (NewIdentity, bool) {
        let new = NewIdentity {
            name: self.name,
            realm: self.realm,
            not_before: self.not_before,
            expires: self.expires,
            comment: self.comment,
            parameters: self.parameters,
            seed: self.seed,
        };
        (new, self.state == Some(State::Disabled))
    }
}

/// Counts outcomes, and shows them on a terminal.
struct Count {
    created: u64,
    failed: u64,
    progress: Progress,
    output: Output,
}

impl Count {
    fn new(output: Output) -> Self {
        Self {
            created: 0,
            failed: 0,
            progress: Progress::new(output),
            output,
        }
    }

    fn created(&mut self) {
        self.created += 1;
        let created = self.created;
        self.progress.show(|| format!("{created} created"));
    }

    fn failed(&mut self, at: &Place, why: &str) {
        self.failed += 1;
        self.progress.end();
        let Place { number, who } = at;
        self.output.warn(&format!("line {number}, {who}: {why}"));
    }

    fn end(mut self) -> Result<(), CliError> {
        self.progress.end();
        match self.failed {
            0 => Ok(()),
            failed => Err(CliError::NotCreated {
                created: self.created,
                failed,
            }),
        }
    }
}
