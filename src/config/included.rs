//! `include` as typed.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// An item of `include`: a pattern, or a table with bounds.
#[derive(Debug, Default)]
pub(super) struct Include {
    pub(super) files: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<Texts>>,
    pub(super) path: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Include {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct InTable {
            files: Option<Spanned<String>>,
            host: Option<Spanned<Texts>>,
            path: Option<Spanned<String>>,
        }

        struct OfInclude;

        impl<'de> Visitor<'de> for OfInclude {
            type Value = Include;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    r#"files such as "routes.d/*.toml", or a table with files, host and path"#,
                )
            }

            fn visit_str<E: de::Error>(self, files: &str) -> Result<Include, E> {
                // The caller uses the span of the item.
                Ok(Include {
                    files: Some(Spanned::new(0..0, files.to_owned())),
                    ..Include::default()
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Include, A::Error> {
                let InTable { files, host, path } =
                    Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Include { files, host, path })
            }
        }

        deserializer.deserialize_any(OfInclude)
    }
}

/// A text or a list of texts.
#[derive(Debug)]
pub(super) struct Texts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTexts;

        impl<'de> Visitor<'de> for OfTexts {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Texts, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(texts)).map(Texts)
            }
        }

        deserializer.deserialize_any(OfTexts)
    }
}
