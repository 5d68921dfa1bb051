use thiserror::Error;

/// Why a path is rejected. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Ambiguity {
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    #[error("the path holds a character that does not belong there")]
    Character,
    #[error("the path holds a percent sign without two hexadecimal digits")]
    Escape,
    #[error("the path holds an encoded dot, backslash or control character")]
    EncodedSpecial,
    #[error("the path holds a dot segment")]
    DotSegment,
    #[error("a segment of the path is only a parameter, or its parameter holds an encoded slash")]
    Parameter,
    #[error("a segment of the path is a session that some servers take off")]
    Session,
    #[error("the path is not UTF-8")]
    Encoding,
    #[error("the path holds a character that some servers take for a slash, backslash or escape")]
    LookAlike,
    #[error("the path names a stream of a file")]
    Stream,
    #[error("the path is encoded too many times")]
    Depth,
}
