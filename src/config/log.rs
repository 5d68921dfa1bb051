//! `[log]`.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::raw;
use super::source::Source;

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// `human` by default.
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, which accepts them; `info` by default.
    pub filter: String,
    /// The requests in the access log; none by default.
    pub access: Access,
    /// Log one in this many permitted requests, 1 to 1,000,000; 1 by default.
    pub access_one_in: u64,
    /// The file of the access log; by default it goes to the log.
    pub access_file: Option<PathBuf>,
    /// The maximum number of lines per second and module, 1 to 1,000,000; 100 by default. Further
    /// lines are counted.
    pub lines_per_second: u32,
}

/// The requests in the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No requests.
    Off,
    /// Denied requests, and requests with a 5xx response or none.
    Failed,
    /// The same, and a sample of the others.
    All,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Returns whether a part of a filter is a bare word but not a level. As a target, it would silence
/// all others.
fn is_no_directive(part: &str) -> bool {
    let part = part.trim();
    !part.contains(['=', '[', ':']) && part.parse::<LevelFilter>().is_err()
}

impl Source<'_> {
    pub(super) fn log(&self, raw: &raw::Log) -> Log {
        let format = self.word(
            "log.format",
            raw.format.as_ref(),
            LogFormat::Human,
            r#""human" or "json""#,
            |word| match word {
                "human" => Some(LogFormat::Human),
                "json" => Some(LogFormat::Json),
                _ => None,
            },
        );
        let filter = self.word(
            "log.filter",
            raw.filter.as_ref(),
            "info".to_owned(),
            r#"a level (off, error, warn, info, debug, trace), or directives such as "warn,realmgate=debug""#,
            |text| {
                let is_right = !text.trim().is_empty()
                    && !text.split(',').any(is_no_directive)
                    && EnvFilter::try_new(text).is_ok();
                is_right.then(|| text.to_owned())
            },
        );
        let access = self.word(
            "log.access",
            raw.access.as_ref(),
            Access::Off,
            r#""off", "failed" or "all""#,
            |word| match word {
                "off" => Some(Access::Off),
                "failed" => Some(Access::Failed),
                "all" => Some(Access::All),
                _ => None,
            },
        );
        let access_file = self.word(
            "log.access_file",
            raw.access_file.as_ref(),
            None,
            "the path of a file",
            |path| (!path.is_empty()).then(|| Some(path.into())),
        );
        let one_in = raw.access_one_in.as_ref();
        let lines = raw.lines_per_second.as_ref();
        Log {
            format,
            filter,
            access,
            access_one_in: self.number("log.access_one_in", one_in, 1, 1..=1_000_000),
            access_file,
            lines_per_second: self.number("log.lines_per_second", lines, 100, 1..=1_000_000),
        }
    }
}
