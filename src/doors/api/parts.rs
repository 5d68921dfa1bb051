//! Arrays that are too long to be held in memory: each part is sent when it has been read.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use thiserror::Error;

use super::encode::indented;

/// Non-empty JSON arrays that together form the response.
pub(super) type Parts = BoxStream<'static, Result<String, BrokenOff>>;

/// A response that had begun could not be completed.
#[derive(Debug, Error)]
#[error("the list broke off")]
pub(super) struct BrokenOff;

/// Joins the arrays to one, with `indent` spaces per level, or on a single line.
pub(super) fn joined(
    parts: Parts,
    indent: usize,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> + Send {
    let end = if indent > 0 { "\n]" } else { "]" };
    let items = parts.enumerate().map(move |(at, part)| {
        let mut part = part?;
        if indent > 0 {
            part = indented(part, indent);
        }
        let items = part.strip_prefix('[').and_then(|it| it.strip_suffix(end));
        let before = if at == 0 { "[" } else { "," };
        let items = items.ok_or(BrokenOff)?;
        Ok(Bytes::from([before, items].concat()))
    });
    items.chain(stream::once(async move { Ok(Bytes::from(end)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(
        parts: Vec<Result<&'static str, BrokenOff>>,
        indent: usize,
    ) -> Vec<Option<String>> {
        let parts = stream::iter(parts).map(|part| part.map(str::to_owned));
        let written = joined(parts.boxed(), indent).map(|it| {
            let text = it.ok()?;
            Some(String::from_utf8(text.to_vec()).unwrap())
        });
        written.collect().await
    }

    #[tokio::test]
    async fn parts_read_as_one_array_however_far_it_is_indented() {
        let parts = || vec![Ok(r#"["a","]"]"#), Ok(r#"[["b"]]"#), Ok(r#"["[c]"]"#)];
        let whole = serde_json::json!(["a", "]", ["b"], "[c]"]);
        for (indent, expected) in [
            (0, whole.to_string()),
            (2, serde_json::to_string_pretty(&whole).unwrap()),
        ] {
            let written: Option<String> = all(parts(), indent).await.into_iter().collect();
            assert_eq!(written.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn broken_list_is_seen_before_its_end() {
        let written = all(vec![Ok("[1]"), Err(BrokenOff)], 0).await;
        assert_eq!(written[..2], [Some("[1".to_owned()), None]);
    }
}
