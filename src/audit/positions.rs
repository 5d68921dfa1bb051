//! Reads positions of the audit log from the main log, which an intruder may not be able to write.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::chain::Position;

/// The message of a line with a position.
pub(super) const MESSAGE: &str = "audit log";
/// The maximum length of a line in bytes.
const LINE: u64 = 64 * 1024;

/// Why positions cannot be read.
#[derive(Debug, Error)]
pub enum PositionsError {
    /// The file cannot be read.
    #[error("{0}: cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// The file has no position.
    #[error("{0}: has no line of realmgate that says `audit log` and a place")]
    None(PathBuf),
}

/// Returns the positions in a log of either format. Lines may have a prefix; `-` is standard input.
///
/// # Errors
/// [`PositionsError`].
pub fn read_positions(path: &Path) -> Result<Vec<Position>, PositionsError> {
    let fail = |error| PositionsError::Read(path.into(), error);
    let from: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(stdin()),
        false => Box::new(File::open(path).map_err(fail)?),
    };
    let mut from = BufReader::new(from);
    let (mut line, mut places) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let length = (&mut from).take(LINE).read_until(b'\n', &mut line);
        if length.map_err(fail)? == 0 {
            break;
        }
        places.extend(str::from_utf8(&line).ok().and_then(place));
    }
    // The log repeats a position that has not moved.
    places.dedup();
    match places.is_empty() {
        true => Err(PositionsError::None(path.into())),
        false => Ok(places),
    }
}

/// Returns the position in a line of the log. Values that clients choose come after the module of a line, or within
/// a string, so that no client can forge a position.
fn place(line: &str) -> Option<Position> {
    /// The second is that of version 0.1.0.
    const MODULES: [&str; 2] = ["realmgate::audit", "realmgate::telemetry::audit"];

    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        target: Cow<'a, str>,
        #[serde(borrow)]
        message: Cow<'a, str>,
        #[serde(borrow)]
        at: Option<Cow<'a, str>>,
    }

    let is_ours = |module: &str| MODULES.iter().any(|it| module.starts_with(it));
    if let Some(start) = line.find('{')
        && let Ok(line) = serde_json::from_str::<Line<'_>>(line.get(start..)?)
    {
        let is_it = is_ours(&line.target) && line.message == MESSAGE;
        return line.at.filter(|_| is_it)?.parse().ok();
    }
    let start = line.find(" realmgate::")?;
    let (module, rest) = line.get(start + 1..)?.split_once(": ")?;
    if !is_ours(module) || !rest.starts_with(MESSAGE) {
        return None;
    }
    let (_, place) = rest.trim_end().rsplit_once(" at=")?;
    place.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> String {
        "5f".repeat(32)
    }

    #[test]
    fn places_are_read_from_both_formats_with_whatever_stands_before() {
        let hash = hash();
        let lines = ["realmgate::audit::writer", "realmgate::telemetry::audit::writer"].map(|module| {
            let human = format!(
                "2026-11-26T05:20:47.343Z  INFO {module}: audit log file=/var/log/a b at=12:{hash}\n"
            );
            let json = format!(
                r#"{{"timestamp":"2026","level":"INFO","message":"audit log","file":"/a","at":"12:{hash}","target":"{module}"}}"#
            );
            [human, json]
        });
        for line in lines.iter().flatten() {
            for before in ["", "Nov 26 05:20:47 host realmgate[471]: "] {
                let place = place(&format!("{before}{line}")).unwrap();
                assert_eq!(place.to_string(), format!("12:{hash}"));
            }
        }
    }

    #[test]
    fn names_of_strangers_name_no_place() {
        let hash = hash();
        let name = format!(" realmgate::audit::writer: audit log at=1:{hash}");
        for line in [
            format!(
                "2026  INFO realmgate::telemetry: denied door=\"proxy\" name=\"{name}\" reason=\"x\""
            ),
            format!("2026  INFO realmgate::telemetry: denied door=\"proxy\" detail={name}"),
            format!(r#"{{"message":"denied","name":"{name}","target":"realmgate::telemetry"}}"#),
            format!(r#"{{"message":"audit log","at":"1:{hash}","target":"realmgate::telemetry"}}"#),
            format!("audit log at=1:{hash}"),
        ] {
            assert_eq!(place(&line), None, "{line}");
        }
    }
}
