//! Environment variables: which belong to realmgate, the key that each overrides, and its value.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{Raw, sections};

/// The variable that may contain encryption keys.
pub const STORE_KEY: &str = "REALMGATE_STORE_KEY";

/// The variable that may contain the password of the database.
pub const DATABASE_PASSWORD: &str = "PGPASSWORD";

/// The prefix of realmgate's variables.
const PREFIX: &str = "REALMGATE_";

/// Returns the variables with realmgate's prefix that Kubernetes has set. It describes each service
/// of the namespace by variables (`enableServiceLinks`), and a service may be called
/// `realmgate-grpc`.
pub fn kubernetes_variables<N: AsRef<OsStr>, V: AsRef<OsStr>>(
    env: impl IntoIterator<Item = (N, V)>,
) -> Vec<String> {
    let of_kubernetes = env.into_iter().filter_map(|(name, value)| {
        let name = name.as_ref().to_str()?;
        let rest = name.strip_prefix(PREFIX)?;
        is_of_kubernetes(rest, value.as_ref()).then(|| name.to_owned())
    });
    of_kubernetes.collect()
}

/// Returns whether a variable overrides a key. `REALMGATE_CONFIG` and `REALMGATE_SEED` belong to
/// the command line, the other names below to clients.
pub(super) fn is_ours(name: &OsStr, value: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let is_of_clients = matches!(rest, "IDENTITY" | "SEED" | "SEED_FILE" | "URL");
    rest != "CONFIG" && !is_of_clients && !is_of_kubernetes(rest, value)
}

/// Returns whether Kubernetes sets such a variable for a service whose name begins with
/// `realmgate`. For `realmgate-grpc` with port 8082, these are `REALMGATE_GRPC_SERVICE_HOST`,
/// `…_SERVICE_PORT`, the same with the name of a port, `…_PORT`, `…_PORT_8082_TCP`, and the last
/// with `_PROTO`, `_PORT` and `_ADDR`.
fn is_of_kubernetes(rest: &str, value: &OsStr) -> bool {
    // A variable that overrides a key is never ignored, whatever its value.
    if key_of(rest).is_some() {
        return false;
    }
    // For the service `realmgate` itself, there is no name in between.
    let rest = format!("_{rest}");
    let value = value.to_str().unwrap_or_default();
    let is_own = |name: &str| rest == name;
    if rest.ends_with("_SERVICE_HOST") {
        return is_own("_SERVICE_HOST") || value.parse::<IpAddr>().is_ok();
    }
    if rest.ends_with("_SERVICE_PORT") {
        return is_own("_SERVICE_PORT") || is_port(value);
    }
    if let Some((service, _)) = rest.rsplit_once("_SERVICE_PORT_") {
        return service.is_empty() || is_port(value);
    }
    if is_own("_PORT") || (rest.ends_with("_PORT") && is_link(value)) {
        return true;
    }
    rest.rsplit_once("_PORT_")
        .into_iter()
        .chain(rest.split_once("_PORT_"))
        .any(|(_, port)| {
            let mut parts = port.split('_');
            let is_number = parts.next().is_some_and(is_port);
            let is_protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
            let is_end = matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"));
            is_number && is_protocol && is_end && parts.next().is_none()
        })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// Returns whether a text is an address in the form of Kubernetes, such as `tcp://10.0.0.1:8082`.
fn is_link(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn key_of(rest: &str) -> Option<(&'static str, &'static str)> {
    find(rest).ok()
}

/// Finds the key that a variable overrides.
///
/// # Errors
/// The possible names, if there is no such key.
pub(super) fn key(name: &str) -> Result<(&'static str, &'static str), String> {
    find(name.strip_prefix(PREFIX).unwrap_or(name))
}

fn find(rest: &str) -> Result<(&'static str, &'static str), String> {
    let (typed_section, typed_key) = rest.split_once('_').unwrap_or((rest, ""));
    let unknown = |names: Vec<&str>, prefix: &str| {
        format!("{prefix} and one of {}", names.join(", ").to_uppercase())
    };
    let sections = sections();
    let Some((section, keys)) = sections
        .iter()
        .find(|(section, _)| section.to_uppercase() == typed_section)
    else {
        let names = sections.iter().map(|(section, _)| *section).collect();
        return Err(unknown(names, PREFIX));
    };
    keys.iter()
        .find(|key| key.to_uppercase() == typed_key)
        .map(|key| (*section, *key))
        .ok_or_else(|| unknown(keys.to_vec(), &format!("{PREFIX}{typed_section}_")))
}

/// Parses the value of a variable for its key: as a TOML boolean, integer, string or array if the
/// key accepts it; else as text, so that `2024` can be a name; else as comma-separated items if the
/// key is an array.
pub(super) fn value<'s>(
    (section, key): (&str, &str),
    text: &'s str,
    span: &Range<usize>,
) -> Spanned<DeValue<'s>> {
    let plain = || Spanned::new(span.clone(), DeValue::String(text.into()));
    let parsed = match DeValue::parse(text) {
        Ok(value)
            if matches!(
                value.get_ref(),
                DeValue::Boolean(_) | DeValue::Integer(_) | DeValue::String(_) | DeValue::Array(_)
            ) =>
        {
            Some(moved(value, span.start))
        }
        _ => None,
    };
    let parts = || {
        let parts = text.split(',').map(|part| {
            let start = span.start + (part.as_ptr().addr() - text.as_ptr().addr());
            let part = part.trim();
            Spanned::new(start..start + part.len(), DeValue::String(part.into()))
        });
        Spanned::new(span.clone(), DeValue::Array(parts.collect()))
    };
    let fits = |value: &Spanned<DeValue<'s>>| {
        let mut keys = DeTable::new();
        keys.insert(Spanned::new(0..0, key.into()), value.clone());
        let mut root = DeTable::new();
        let keys = Spanned::new(0..0, DeValue::Table(keys));
        root.insert(Spanned::new(0..0, section.into()), keys);
        let root = Spanned::new(0..0, root);
        Raw::deserialize(toml::de::Deserializer::from(root)).is_ok()
    };
    let readings = [Some(plain()), Some(parts())];
    let mut readings = readings.into_iter().flatten();
    match parsed {
        Some(value) if fits(&value) => value,
        // No form fits, so the error shows the value as it was typed.
        Some(value) => readings.find(fits).unwrap_or(value),
        None => readings.find(fits).unwrap_or_else(plain),
    }
}

/// Shifts the spans of a value and its items by `by`.
fn moved(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| moved(item, by)).collect())
        }
        other => other,
    };
    Spanned::new(span.start + by..span.end + by, inner)
}
