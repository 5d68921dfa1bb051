/// Why a path is rejected. For the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    NotAbsolute,
    Character,
    Escape,
    EncodedSpecial,
    DotSegment,
    Parameter,
    Session,
    Encoding,
    LookAlike,
    Stream,
    Depth,
}

impl Ambiguity {
    /// Describes the path.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::Character => "the path contains an invalid character",
            Self::Escape => "the path contains a percent sign without two hexadecimal digits",
            Self::EncodedSpecial => {
                "the path contains an encoded dot, backslash or control character"
            }
            Self::DotSegment => "the path contains a dot segment",
            Self::Parameter => {
                "a segment of the path is only a parameter, or its parameter holds an encoded slash"
            }
            Self::Session => "a segment of the path is a session id that some servers remove",
            Self::Encoding => "the path is not UTF-8",
            Self::LookAlike => {
                "the path contains a character that some servers read as a slash, backslash or escape"
            }
            Self::Stream => "the path names a stream of a file",
            Self::Depth => "the path is encoded too many times",
        }
    }
}
