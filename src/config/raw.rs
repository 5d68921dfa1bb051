//! The configuration as typed: every key is optional, and every value has its span.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

pub(super) use super::either::{OneOrMany, Peer};
use super::included::Include;

pub(super) type Opt<T> = Option<Spanned<T>>;
pub(super) type List = Vec<Spanned<String>>;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) include: Vec<Spanned<Include>>,
    pub(super) store: Table<Store>,
    pub(super) cache: Table<Cache>,
    pub(super) service: Table<Service>,
    pub(super) gateway: Table<Gateway>,
    pub(super) grpc: Table<Grpc>,
    pub(super) metrics: Table<Metrics>,
    pub(super) admin: Table<Admin>,
    pub(super) realms: Table<Realms>,
    pub(super) credentials: Table<Credentials>,
    pub(super) totp: Table<Totp>,
    pub(super) throttle: Table<Throttle>,
    pub(super) realm: BTreeMap<String, Spanned<Table<Realm>>>,
    pub(super) tls: Table<Tls>,
    pub(super) certificate: Vec<Spanned<Table<Certificate>>>,
    pub(super) limits: Table<Limits>,
    pub(super) timeouts: Table<Timeouts>,
    pub(super) server: Table<Server>,
    pub(super) shutdown: Table<Shutdown>,
    pub(super) log: Table<Log>,
    pub(super) audit: Table<Audit>,
    pub(super) otlp: Table<Otlp>,
    pub(super) compat: Table<Compat>,
    pub(super) networks: BTreeMap<String, Spanned<List>>,
    pub(super) group: BTreeMap<String, Spanned<Table<Group>>>,
    pub(super) route: Vec<Spanned<Table<Route>>>,
    pub(super) upstream: BTreeMap<String, Spanned<Table<Upstream>>>,
}

/// Returns the sections whose keys environment variables may override, with their keys.
pub(super) fn sections() -> [(&'static str, &'static [&'static str]); 20] {
    [
        ("store", keys::<Store>()),
        ("cache", keys::<Cache>()),
        ("service", keys::<Service>()),
        ("gateway", keys::<Gateway>()),
        ("grpc", keys::<Grpc>()),
        ("metrics", keys::<Metrics>()),
        ("admin", keys::<Admin>()),
        ("realms", keys::<Realms>()),
        ("credentials", keys::<Credentials>()),
        ("totp", keys::<Totp>()),
        ("throttle", keys::<Throttle>()),
        ("tls", keys::<Tls>()),
        ("limits", keys::<Limits>()),
        ("timeouts", keys::<Timeouts>()),
        ("server", keys::<Server>()),
        ("shutdown", keys::<Shutdown>()),
        ("log", keys::<Log>()),
        ("audit", keys::<Audit>()),
        ("otlp", keys::<Otlp>()),
        ("compat", keys::<Compat>()),
    ]
}

/// Defines tables of optional keys.
macro_rules! tables {
    ($($table:ident { $($key:ident: $value:ty),+ $(,)? })+) => {$(
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $table {
            $(pub(super) $key: Opt<$value>,)+
        }
    )+};
}

tables! {
    Store {
        url: String,
        key_file: String,
        password_file: String,
        schema: String,
        connections: i64,
        readers: i64,
        timeout: Time,
    }
    Cache {
        capacity: i64,
        unknown_capacity: i64,
        ttl: Time,
        unknown_ttl: Time,
        stale_if_error: Time,
    }
    Service {
        listen: String,
        trusted_proxies: List,
        client_address_header: String,
        no_front_proxy: bool,
        tls: bool,
        client_certificates: String,
        h2c: bool,
        proxy_protocol: List,
    }
    Gateway {
        listen: String,
        serve_api: bool,
        health_path: String,
        tls: bool,
        client_certificates: String,
        h2c: bool,
        proxy_protocol: List,
    }
    Grpc { listen: String }
    Metrics { listen: String }
    Admin { listen: String, origin: String, tls: bool, client_certificates: String }
    Realms { admin: String, auth: String }
    Credentials { name_header: String, realm_header: String, token_header: String, name_chars: i64 }
    Totp { window: i64, algorithm: String, digits: i64, period: i64, issuer: String }
    Throttle {
        failures: i64,
        source_failures: i64,
        delay: Time,
        longest_delay: Time,
        forgive: Time,
        forget: Time,
        trust: Time,
        capacity: i64,
    }
    Realm { reuse: String }
    Tls { min_version: String, client_ca: String }
    Certificate { cert: String, key: String }
    Limits {
        header_bytes: i64,
        header_fields: i64,
        target_bytes: i64,
        body_bytes: i64,
        body_rate: i64,
        drain_bytes: i64,
        connections: i64,
        connections_per_address: i64,
        requests: i64,
        requests_per_address: i64,
        streams: i64,
        stream_window: i64,
        connection_window: i64,
    }
    Timeouts { keep_alive: Time, header: Time, read: Time, write: Time, body: Time, drain: Time }
    Server { node: String, threads: i64, upstream_idle_connections: i64, watch: bool }
    Shutdown { grace: Time }
    Log { format: String, filter: String, access: String, access_one_in: i64, access_file: String, lines_per_second: i64 }
    Otlp { endpoint: String, one_in: i64, timeout: Time }
    Audit { file: String, denials_per_second: i64, note_every: Time, repeats_every: Time }
    Compat { reveal_seeds: bool }
    Route {
        name: String,
        host: OneOrMany,
        path: OneOrMany,
        methods: List,
        from: List,
        allow: Allow,
        except: Vec<Spanned<Table<Rule>>>,
        mode: String,
        upstream: String,
        body_bytes: i64,
        allow_double_slash: bool,
        allow_encoded_slash: bool,
        ignore_case: bool,
        ignore_suffix: bool,
        strip_prefix: bool,
        upstream_host: String,
        alias_headers: List,
        pass_headers: List,
        shared_cache: bool,
        challenge: String,
        errors: String,
        denial_headers: Table<HeaderRules>,
        request_headers: Table<HeaderRules>,
        response_headers: Table<HeaderRules>,
    }
    HeaderRules { set: BTreeMap<String, Spanned<String>>, remove: List }
    Group { members: Vec<Spanned<Table<Rule>>> }
    Rule { realm: String, name: String, group: String }
    IdentityNames { name: String, realm: String, user: String }
    Upstream {
        peers: Vec<Spanned<Peer>>,
        identity_headers: Table<IdentityNames>,
        balance: String,
        tls: bool,
        server_name: String,
        ca: String,
        client_cert: String,
        client_key: String,
        http: String,
        eject_failures: i64,
        eject_time: Time,
        tries: i64,
        resolve_interval: Time,
        health_check: String,
        health_interval: Time,
        health_timeout: Time,
        health_host: String,
        requests: i64,
        connect_timeout: Time,
        read_timeout: Time,
        stream_timeout: Time,
        write_timeout: Time,
        idle_timeout: Time,
    }
}

/// The keys that both HTTP listeners have.
pub(super) struct Transport<'a> {
    pub(super) tls: Option<&'a Spanned<bool>>,
    pub(super) client_certificates: Option<&'a Spanned<String>>,
    pub(super) h2c: Option<&'a Spanned<bool>>,
    pub(super) proxy_protocol: Option<&'a Spanned<List>>,
}

macro_rules! transport {
    ($($listener:ident)+) => {$(
        impl $listener {
            pub(super) fn transport(&self) -> Transport<'_> {
                Transport {
                    tls: self.tls.as_ref(),
                    client_certificates: self.client_certificates.as_ref(),
                    h2c: self.h2c.as_ref(),
                    proxy_protocol: self.proxy_protocol.as_ref(),
                }
            }
        }
    )+};
}

transport! { Service Gateway }

/// A value that must be a table. Serde alone would also accept an array of the values in the order
/// of the fields.
#[derive(Debug, Default)]
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTable<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfTable<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }

        deserializer.deserialize_map(OfTable(PhantomData))
    }
}

/// An unchecked duration.
#[derive(Debug)]
pub(super) struct Time(pub(super) String);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTime;

        impl Visitor<'_> for OfTime {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a duration with a unit such as "5m""#)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                Ok(Time(text.to_owned()))
            }
        }

        deserializer.deserialize_str(OfTime)
    }
}

/// The two forms of `allow`.
#[derive(Debug)]
pub(super) enum Allow {
    Word(String),
    Rules(Vec<Spanned<Table<Rule>>>),
}

/// The valid values of `allow`.
pub(super) const ALLOW: &str = r#""authenticated", "anyone" or an array of { realm = "…", name = "…" }, the name optional, or { group = "…" }"#;

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAllow;

        impl<'de> Visitor<'de> for OfAllow {
            type Value = Allow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ALLOW)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Allow, E> {
                Ok(Allow::Word(word.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, rules: A) -> Result<Allow, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(rules)).map(Allow::Rules)
            }
        }

        deserializer.deserialize_any(OfAllow)
    }
}

/// Returns the keys of a table in the order of its fields.
pub(super) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    /// Captures the field names that serde passes, and deserializes nothing.
    struct Names<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("no struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // This always fails, after it has captured the names.
    let _ = T::deserialize(Names(&mut names));
    names
}
