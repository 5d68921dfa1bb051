//! A PostgreSQL server as the store.

use std::path::PathBuf;

use toml::Spanned;
use zeroize::Zeroizing;

use super::raw;
use super::source::{Checked, Source};
use crate::store::{Backend, Password, Server};

/// Returns whether a URL names a PostgreSQL server.
pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

impl Source<'_> {
    /// Reads the keys of a server. A rejected URL may contain a password and is not shown.
    pub(super) fn postgres(
        &self,
        raw: &raw::Store,
        url: &Spanned<String>,
        node: Box<str>,
    ) -> Checked<Backend> {
        let connections = raw.connections.as_ref();
        let connections = self.number("store.connections", connections, 8, 1..=100);
        let password = self.password(raw);
        let schema = match &raw.schema {
            Some(schema) if !Server::is_schema(schema.get_ref()) => Err(self.reject(
                "store.schema",
                schema,
                "up to 63 lower-case letters, digits and underscores, not a digit or pg_ first",
            )),
            schema => Ok(schema
                .as_ref()
                .map(|schema| schema.get_ref().as_str().into())),
        };
        if let Some(readers) = &raw.readers {
            let expected = "no such key with a postgres:// URL; set store.connections";
            return Err(self.reject("store.readers", readers, expected));
        }
        let server = Server::parse(url.get_ref()).map_err(|error| {
            let shown = r#""postgres:…""#.to_owned();
            self.reject_as("store.url", shown, url.span(), error.to_string())
        });
        let mut server = server?;
        server.password = password?;
        server.schema = schema?;
        server.connections = connections;
        server.node = node;
        Ok(Backend::Postgres(Box::new(server)))
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
            return Ok(Password::Environment(Zeroizing::new(password.to_vec())));
        }
        let credential = self.credentials_folder();
        let credential = credential.map(|it| it.join(Password::CREDENTIAL));
        let credential = credential.filter(|it| it.try_exists().unwrap_or(true));
        Ok(credential.map_or(Password::None, Password::File))
    }

    /// Rejects keys that only a server has.
    pub(super) fn reject_keys_of_servers(&self, raw: &raw::Store) -> Checked<()> {
        let expected = "no such key with an SQLite file, only with a postgres:// URL";
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
