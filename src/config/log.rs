//! What is told of requests, and to whom.

use http::Uri;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::error::ConfigError;
use super::raw;
use super::source::Source;
use super::{Access, Log, LogFormat, Otlp};

/// Says whether a part of a filter is a bare word and no level: that would be a target, and silence all others.
fn is_no_directive(part: &str) -> bool {
    let part = part.trim();
    !part.contains(['=', '[', ':']) && part.parse::<LevelFilter>().is_err()
}

impl Source<'_> {
    pub(super) fn log(&self, raw: &raw::Log) -> Result<Log, ConfigError> {
        let format = match &raw.format {
            None => LogFormat::Human,
            Some(raw) => match &**raw.get_ref() {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => return Err(self.refuse("log.format", raw, r#""human" or "json""#)),
            },
        };
        let filter = match &raw.filter {
            None => "info".to_owned(),
            Some(raw)
                if raw.get_ref().trim().is_empty()
                    || raw.get_ref().split(',').any(is_no_directive)
                    || EnvFilter::try_new(raw.get_ref()).is_err() =>
            {
                let expected = r#"a level (off, error, warn, info, debug, trace), or directives such as "warn,realmgate=debug""#;
                return Err(self.refuse("log.filter", raw, expected));
            }
            Some(raw) => raw.get_ref().clone(),
        };
        let access = match &raw.access {
            None => Access::Off,
            Some(raw) => match &**raw.get_ref() {
                "off" => Access::Off,
                "failed" => Access::Failed,
                "all" => Access::All,
                _ => return Err(self.refuse("log.access", raw, r#""off", "failed" or "all""#)),
            },
        };
        let one_in = raw.access_one_in.as_ref();
        if let Some(raw) = raw
            .access_file
            .as_ref()
            .filter(|it| it.get_ref().is_empty())
        {
            return Err(self.refuse("log.access_file", raw, "the path of a file"));
        }
        Ok(Log {
            format,
            filter,
            access,
            access_one_in: self.number("log.access_one_in", one_in, 1, 1..=1_000_000)?,
            access_file: raw.access_file.as_ref().map(|raw| raw.get_ref().into()),
            lines_per_second: self.number(
                "log.lines_per_second",
                raw.lines_per_second.as_ref(),
                100,
                1..=1_000_000,
            )?,
        })
    }

    pub(super) fn otlp(&self, raw: &raw::Otlp) -> Result<Option<Otlp>, ConfigError> {
        let one_in = raw.one_in.as_ref();
        let one_in = self.number("otlp.one_in", one_in, 1, 1..=1_000_000)?;
        let timeout = self.duration("otlp.timeout", raw.timeout.as_ref(), 5_000)?;
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
