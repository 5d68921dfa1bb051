//! `[store]` and `[cache]`.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::located::Secret;
use super::postgres::{Postgres, is_postgres};
use super::raw;
use super::source::{Checked, Source};

/// `[store]` and `[cache]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// `store.url`: the database, `sqlite:realmgate.db` by default.
    pub database: Database,
    /// The source of the encryption keys.
    pub key: KeySource,
    /// `store.timeout`: the maximum wait for a connection, for a lock, and for a statement; 2 s by
    /// default.
    pub timeout: Duration,
    /// `[cache]`.
    pub cache: Cache,
}

/// The database.
#[derive(Clone, Debug)]
pub enum Database {
    /// An SQLite file.
    Sqlite {
        /// The path of the file.
        path: PathBuf,
        /// `store.readers`: the number of connections that read concurrently, 1 to 32; 2 by
        /// default.
        readers: usize,
    },
    /// A PostgreSQL server.
    Postgres(Box<Postgres>),
}

/// The source of the encryption keys.
#[derive(Clone)]
pub enum KeySource {
    /// `store.key_file`, beside the SQLite file by default.
    File(PathBuf),
    /// A systemd credential.
    Credential(PathBuf),
    /// The value of [`STORE_KEY`](super::STORE_KEY), which is not parsed here.
    Environment(Secret),
}

/// `[cache]`.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    /// The maximum number of cached identities; 100,000 by default.
    pub capacity: u64,
    /// The maximum number of cached unknown principals; 10,000 by default.
    pub unknown_capacity: u64,
    /// The lifetime of a cached identity; 5 min by default.
    pub ttl: Duration,
    /// The lifetime of a cached unknown principal; 5 min by default.
    pub unknown_ttl: Duration,
    /// How long cached identities stay valid while the database fails; 5 min by default.
    pub stale_if_error: Duration,
}

impl Database {
    /// Returns the path of the file; `None` for a server.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, .. } => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl KeySource {
    /// The name of the systemd credential that may contain keys.
    const CREDENTIAL: &str = "realmgate.key";

    /// Returns the path, or `None` if the keys are in the environment.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Credential(path) => Some(path),
            Self::Environment(_) => None,
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().fmt(f)
    }
}

/// How keys begin that are in a file.
const KEY: &str = "realmgate-sealing-key-";

impl Source<'_> {
    pub(super) fn store(
        &self,
        raw: &raw::Store,
        cache: &raw::Cache,
        node: Box<str>,
    ) -> Checked<Store> {
        let timeout = self.duration("store.timeout", raw.timeout.as_ref(), 2_000);
        let cache = self.cache(cache);
        let (database, key) = match &raw.url {
            Some(url) if is_postgres(url.get_ref()) => {
                let database = self.postgres(raw, url, node);
                let key = self.key(raw, None).and_then(|key| {
                    // The nodes share the keys, so there is no default that would be right.
                    key.ok_or_else(|| {
                        let expected = "the path of a file with the keys, the same on every node";
                        self.missing("store.key_file".to_owned(), url.span(), expected)
                    })
                });
                let database = database.map(|server| Database::Postgres(Box::new(server)));
                (database, key)
            }
            _ => self.sqlite(raw),
        };
        Ok(Store {
            database: database?,
            key: key?,
            timeout,
            cache,
        })
    }

    fn sqlite(&self, raw: &raw::Store) -> (Checked<Database>, Checked<KeySource>) {
        let readers = self.number("store.readers", raw.readers.as_ref(), 2, 1..=32);
        let rejected = self.reject_keys_of_servers(raw);
        let path = match &raw.url {
            Some(url) => self.database(url),
            None => Ok(PathBuf::from("realmgate.db")),
        };
        // For any database.
        let beside = path.as_deref().unwrap_or(Path::new("realmgate.db"));
        let beside = beside.with_extension("key");
        let key = self.key(raw, Some(beside));
        let key = key.map(|key| key.unwrap_or(KeySource::File("realmgate.key".into())));
        if let (Ok(path), Ok(key)) = (&path, &key)
            && key.path() == Some(path)
            && let Some(set) = raw.key_file.as_ref().or(raw.url.as_ref())
        {
            let shown = format!("{:?}", path.display().to_string());
            let expected = "another file than the database";
            let rejected = self.reject_as("store.key_file", shown, set.span(), expected);
            return (Err(rejected), Err(rejected));
        }
        let database = rejected.and(path);
        (database.map(|path| Database::Sqlite { path, readers }), key)
    }

    /// Returns the source of the keys: the configured file, else a credential that exists, else `default`.
    fn key(&self, raw: &raw::Store, default: Option<PathBuf>) -> Checked<Option<KeySource>> {
        let reject =
            |file, expected: &str| Err(self.reject("store.key_file", file, expected.to_owned()));
        match (&raw.key_file, self.keys()) {
            (Some(file), _) if file.get_ref().is_empty() => reject(file, "the path of a file"),
            (Some(file), _) if file.get_ref().contains(KEY) => {
                let expected = "the path of a file with the key, not the key itself";
                Err(self.reject_as("store.key_file", "a key".to_owned(), file.span(), expected))
            }
            (Some(file), Some(_)) => reject(
                file,
                "no key file, because REALMGATE_STORE_KEY contains the key; use one of the two",
            ),
            (Some(file), None) => {
                let path = PathBuf::from(file.get_ref());
                let is_credential = self
                    .credentials_folder()
                    .is_some_and(|it| path.starts_with(it));
                Ok(Some(if is_credential {
                    KeySource::Credential(path)
                } else {
                    KeySource::File(path)
                }))
            }
            (None, Some(text)) => Ok(Some(KeySource::Environment(Secret::new(text)))),
            (None, None) => {
                let credential = self
                    .credentials_folder()
                    .map(|it| it.join(KeySource::CREDENTIAL));
                // If it cannot be examined, opening it will fail. That is no reason to create a
                // key.
                let credential = credential.filter(|it| it.try_exists().unwrap_or(true));
                Ok(match credential {
                    Some(path) => Some(KeySource::Credential(path)),
                    None => default.map(KeySource::File),
                })
            }
        }
    }

    /// Returns the path of a database. A rejected URL may contain a password, so it is not shown.
    fn database(&self, url: &Spanned<String>) -> Checked<PathBuf> {
        let (scheme, path) = url.get_ref().split_once(':').unwrap_or(("", ""));
        let names_file = Path::new(path).file_name().is_some()
            && path != ":memory:"
            && !path.starts_with("//")
            && !path.ends_with('/')
            && !path.contains('?');
        if scheme == "sqlite" && names_file {
            return Ok(path.into());
        }
        if scheme == "sqlite" {
            let expected =
                r#""sqlite:PATH" with the path of a file, no "//" before it and no "?" in it"#;
            return Err(self.reject("store.url", url, expected));
        }
        let shown = match scheme {
            "" => r#""…""#.to_owned(),
            scheme => format!("\"{}:…\"", scheme.escape_debug()),
        };
        Err(self.reject_as(
            "store.url",
            shown,
            url.span(),
            r#""sqlite:PATH" or "postgres://USER@HOST/DATABASE""#,
        ))
    }

    fn cache(&self, raw: &raw::Cache) -> Cache {
        const ENTRIES: RangeInclusive<i64> = 1..=100_000_000;
        Cache {
            capacity: self.number("cache.capacity", raw.capacity.as_ref(), 100_000, ENTRIES),
            unknown_capacity: self.number(
                "cache.unknown_capacity",
                raw.unknown_capacity.as_ref(),
                10_000,
                ENTRIES,
            ),
            ttl: self.duration("cache.ttl", raw.ttl.as_ref(), 300_000),
            unknown_ttl: self.duration("cache.unknown_ttl", raw.unknown_ttl.as_ref(), 300_000),
            stale_if_error: self.duration(
                "cache.stale_if_error",
                raw.stale_if_error.as_ref(),
                300_000,
            ),
        }
    }
}
