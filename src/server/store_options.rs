//! Makes the options of the store from its settings.

use crate::config::{self, ConfigError, Database, Mistake};
use crate::store::{Backend, CacheOptions, KeySource, Keys, Options, Password, Server};

/// Makes the options of the store from its settings, and parses those whose form the store defines.
///
/// # Errors
/// [`ConfigError`] names the settings that are not valid.
pub fn store_options(settings: &config::Store) -> Result<Options, ConfigError> {
    let mut mistakes = Vec::new();
    let database = match &settings.database {
        Database::Sqlite { path, readers } => Some(Backend::Sqlite {
            path: path.clone(),
            readers: *readers,
        }),
        Database::Postgres(postgres) => {
            server(postgres, &mut mistakes).map(|server| Backend::Postgres(Box::new(server)))
        }
    };
    let key = key(&settings.key, &mut mistakes);
    let (Some(database), Some(key)) = (database, key) else {
        return Err(ConfigError::of(mistakes));
    };
    let cache = &settings.cache;
    Ok(Options {
        database,
        key,
        timeout: settings.timeout,
        cache: CacheOptions {
            capacity: cache.capacity,
            unknown_capacity: cache.unknown_capacity,
            ttl: cache.ttl,
            unknown_ttl: cache.unknown_ttl,
            stale_if_error: cache.stale_if_error,
            admin_realm: None,
        },
    })
}

/// Parses the settings of a server. A rejected URL may contain a password and is not shown.
fn server(settings: &config::Postgres, mistakes: &mut Vec<Mistake>) -> Option<Server> {
    let schema = settings.schema.as_ref();
    let is_schema = schema.is_none_or(|schema| Server::is_schema(schema.text()));
    if let Some(schema) = schema
        && !is_schema
    {
        mistakes.push(schema.rejected(
            "up to 63 lower-case letters, digits and underscores, not a digit or pg_ first",
        ));
    }
    match Server::parse(settings.url.text()) {
        Ok(mut server) => {
            server.password = match &settings.password {
                config::Password::None => Password::None,
                config::Password::File(path) => Password::File(path.clone()),
                config::Password::Environment(secret) => {
                    Password::Environment(secret.bytes().clone())
                }
            };
            server.schema = schema.map(|schema| schema.text().into());
            server.connections = settings.connections;
            server.node = settings.node.clone();
            is_schema.then_some(server)
        }
        Err(error) => {
            mistakes.push(settings.url.rejected(error.to_string()));
            None
        }
    }
}

fn key(settings: &config::KeySource, mistakes: &mut Vec<Mistake>) -> Option<KeySource> {
    match settings {
        config::KeySource::File(path) => Some(KeySource::File(path.clone())),
        config::KeySource::Credential(path) => Some(KeySource::Credential(path.clone())),
        config::KeySource::Environment(secret) => {
            let text = std::str::from_utf8(secret.bytes()).ok();
            let keys = text.and_then(Keys::parse);
            if keys.is_none() {
                mistakes.push(Mistake::NotAKey {
                    variable: config::STORE_KEY,
                    form: Keys::FORM,
                });
            }
            keys.map(KeySource::Environment)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::config::Config;

    fn error(text: &str, variable: Option<(&str, &str)>) -> String {
        let environment = variable
            .into_iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let config = Config::parse(text, "r.toml", environment).unwrap();
        store_options(&config.store).unwrap_err().to_string()
    }

    #[test]
    fn settings_of_a_server_are_rejected_with_their_places() {
        let text = "[store]\nurl = 'postgres://u@db/d?sslmode=no'\nkey_file = 'k'\nschema = 'pg_x'";
        assert_eq!(
            error(text, None),
            "r.toml:4: store.schema = 'pg_x': expected up to 63 lower-case letters, digits and \
             underscores, not a digit or pg_ first\n\
             r.toml:2: store.url = \"postgres:…\": expected sslmode disable, require, verify-ca or \
             verify-full"
        );
    }

    #[test]
    fn key_in_the_environment_is_rejected_without_showing_it() {
        let error = error("", Some(("REALMGATE_STORE_KEY", "secret")));
        assert!(
            error.starts_with("REALMGATE_STORE_KEY: is not a key, expected `realmgate-sealing"),
            "{error}"
        );
        assert!(!error.contains("secret"));
    }
}
