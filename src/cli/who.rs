//! Options that name an identity.

use std::str::FromStr;

use crate::auth::split_user;

/// An identity as `NAME@REALM`.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) realm: String,
}

/// Splits at the last `@`, as in HTTP Basic.
impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, realm) = split_user(text).map_err(|_| "expected NAME@REALM")?;
        Ok(Self {
            name: name.to_owned(),
            realm: realm.to_owned(),
        })
    }
}

/// Formats a principal for messages, without control characters that could reach the terminal.
pub(super) fn shown(name: &str, realm: &str) -> String {
    format!("{}@{}", name.escape_debug(), realm.escape_debug())
}

/// An identity as `NAME@REALM` or as two options.
#[derive(Debug, clap::Args)]
pub(super) struct Who {
    /// Identity; split at the last `@`
    #[arg(
        value_name = "NAME@REALM",
        required_unless_present_any = ["name", "realm"],
        conflicts_with_all = ["name", "realm"]
    )]
    identity: Option<Named>,
    /// Name; with --realm, in place of NAME@REALM
    #[arg(long, requires = "realm")]
    name: Option<String>,
    /// Realm, which may contain an `@`, unlike in NAME@REALM
    #[arg(long, requires = "name")]
    realm: Option<String>,
}

impl Who {
    pub(super) fn name(&self) -> &str {
        let named = self.identity.as_ref().map(|it| &it.name);
        named.or(self.name.as_ref()).map_or("", String::as_str)
    }

    pub(super) fn realm(&self) -> &str {
        let named = self.identity.as_ref().map(|it| &it.realm);
        named.or(self.realm.as_ref()).map_or("", String::as_str)
    }
}
