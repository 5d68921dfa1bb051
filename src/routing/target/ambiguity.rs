use thiserror::Error;

/// Why a path is rejected. For the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Ambiguity {
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    #[error("the path contains an invalid character")]
    Character,
    #[error("the path contains a percent sign without two hexadecimal digits")]
    Escape,
    #[error("the path contains an encoded dot, backslash or control character")]
    EncodedSpecial,
    #[error("the path contains a dot segment")]
    DotSegment,
    #[error("a segment of the path is only a parameter, or its parameter holds an encoded slash")]
    Parameter,
    #[error("a segment of the path is a session id that some servers remove")]
    Session,
    #[error("the path is not UTF-8")]
    Encoding,
    #[error("the path contains a character that some servers read as a slash, backslash or escape")]
    LookAlike,
    #[error("the path names a stream of a file")]
    Stream,
    #[error("the path is encoded too many times")]
    Depth,
}
