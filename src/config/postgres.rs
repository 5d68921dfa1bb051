//! A PostgreSQL server as the store.

use std::path::PathBuf;

use toml::Spanned;

use super::located::{Located, Secret};
use super::raw;
use super::source::{Checked, Source};

/// A PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `store.url`, which names no password.
    pub url: Located,
    /// `store.schema`: the schema of the tables; the first of the search path by default.
    pub schema: Option<Located>,
    /// The source of the password.
    pub password: Password,
    /// `store.connections`: the maximum number of connections, 1 to 100; 8 by default.
    pub connections: usize,
    /// `server.node`: the name of this node in the database.
    pub node: Box<str>,
}

/// The source of the database password.
#[derive(Clone, Debug)]
pub enum Password {
    /// No password.
    None,
    /// `store.password_file`, or a systemd credential.
    File(PathBuf),
    /// The value of `PGPASSWORD`.
    Environment(Secret),
}

impl Password {
    /// The name of the systemd credential that holds the password.
    const CREDENTIAL: &str = "realmgate.pgpassword";
}

/// Returns whether a URL names a PostgreSQL server.
pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Returns whether a URL contains a password, before its host or as a parameter.
fn has_password(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let rest = base.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || query.split('&').any(|pair| pair.starts_with("password="))
}

impl Source<'_> {
    /// Reads the keys of a server. A rejected URL may contain a password and is not shown.
    pub(super) fn postgres(
        &self,
        raw: &raw::Store,
        url: &Spanned<String>,
        node: Box<str>,
    ) -> Checked<Postgres> {
        let connections = raw.connections.as_ref();
        let connections = self.number("store.connections", connections, 8, 1..=100);
        let password = self.password(raw);
        if let Some(readers) = &raw.readers {
            let expected = "no such key with a postgres:// URL; set store.connections";
            return Err(self.reject("store.readers", readers, expected));
        }
        let shown = r#""postgres:…""#.to_owned();
        if has_password(url.get_ref()) {
            let expected = "a URL without a password: put it into store.password_file";
            return Err(self.reject_as("store.url", shown, url.span(), expected));
        }
        let schema = raw.schema.as_ref();
        Ok(Postgres {
            url: self.located("store.url", url, shown),
            schema: schema.map(|it| self.located("store.schema", it, self.shown(it.span()))),
            password: password?,
            connections,
            node,
        })
    }

    /// Returns the source of the password: the configured file, else `PGPASSWORD`, else a credential that exists.
    fn password(&self, raw: &raw::Store) -> Checked<Password> {
        if let Some(file) = &raw.password_file {
            return match file.get_ref().is_empty() {
                true => Err(self.reject("store.password_file", file, "the path of a file")),
                false => Ok(Password::File(PathBuf::from(file.get_ref()))),
            };
        }
        if let Some(password) = self.database_password() {
            return Ok(Password::Environment(Secret::new(password)));
        }
        let credential = self.credentials_folder();
        let credential = credential.map(|it| it.join(Password::CREDENTIAL));
        let credential = credential.filter(|it| it.try_exists().unwrap_or(true));
        Ok(credential.map_or(Password::None, Password::File))
    }

    /// Rejects keys that only a server has.
    pub(super) fn reject_keys_of_servers(&self, raw: &raw::Store) -> Checked<()> {
        let url = match &raw.url {
            Some(url) => format!("store.url is set at {}", self.place(url.span().start)),
            None => "store.url is not set".to_owned(),
        };
        let expected =
            &format!("no such key with an SQLite file, only with a postgres:// URL ({url})");
        let mut outcome = Ok(());
        for (key, value) in [
            ("store.password_file", &raw.password_file),
            ("store.schema", &raw.schema),
        ] {
            if let Some(value) = value {
                outcome = Err(self.reject(key, value, expected));
            }
        }
        if let Some(connections) = &raw.connections {
            outcome = Err(self.reject("store.connections", connections, expected));
        }
        outcome
    }
}
