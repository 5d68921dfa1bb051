//! Values that can be written in two forms.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// A text, or an array of texts.
#[derive(Debug)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfEither;

        impl<'de> Visitor<'de> for OfEither {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: de::Error>(self, one: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(one.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<OneOrMany, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(many)).map(OneOrMany::Many)
            }
        }

        deserializer.deserialize_any(OfEither)
    }
}

/// A peer: an address, or a table with address and weight.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) address: Option<Spanned<String>>,
    pub(super) weight: Option<Spanned<i64>>,
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[derive(Default)]
        struct InTable {
            address: Option<Spanned<String>>,
            weight: Option<Spanned<i64>>,
        }

        struct OfPeer;

        impl<'de> Visitor<'de> for OfPeer {
            type Value = Peer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"an address, or { address = "…", weight = 2 }"#)
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<Peer, E> {
                // The caller uses the span of the peer.
                Ok(Peer {
                    address: Some(Spanned::new(0..0, address.to_owned())),
                    weight: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Peer, A::Error> {
                let InTable { address, weight } =
                    Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Peer { address, weight })
            }
        }

        deserializer.deserialize_any(OfPeer)
    }
}
