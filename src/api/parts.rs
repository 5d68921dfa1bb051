//! Arrays that are too long to be held: written as they are read, a part at a time.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use thiserror::Error;

use super::wire::indented;

/// The texts of JSON arrays of which none is empty, to be read as one.
pub(super) type Parts = BoxStream<'static, Result<String, BrokenOff>>;

/// An answer that had begun could not be ended.
#[derive(Debug, Error)]
#[error("the list broke off")]
pub(super) struct BrokenOff;

/// Makes one array of all, each level `indent` spaces deeper, or on one line.
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
