//! Checks `[log]` and `[otlp]`.

use http::Uri;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::raw;
use super::source::{Checked, Source};
use super::{Access, Log, LogFormat, Otlp};

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

    pub(super) fn otlp(&self, raw: &raw::Otlp) -> Checked<Option<Otlp>> {
        let one_in = raw.one_in.as_ref();
        let one_in = self.number("otlp.one_in", one_in, 1, 1..=1_000_000);
        let timeout = self.duration("otlp.timeout", raw.timeout.as_ref(), 5_000);
        let Some(endpoint) = &raw.endpoint else {
            return Ok(None);
        };
        let is_right = endpoint.get_ref().parse().is_ok_and(|uri: Uri| {
            uri.scheme_str() == Some("http")
                && uri.port().is_some()
                && uri.path() == "/"
                && uri.query().is_none()
        });
        if !is_right {
            let expected = r#"the address of a collector such as "http://127.0.0.1:4317""#;
            return Err(self.refuse("otlp.endpoint", endpoint, expected));
        }
        Ok(Some(Otlp {
            endpoint: endpoint.get_ref().clone(),
            one_in,
            timeout,
        }))
    }
}
