//! The configuration. The keys as typed ([`raw`]) become a checked [`Config`], or an error that
//! names the place, the key, the value and the expected values.
//!
//! [`include`] finds further files. [`source`] joins the files and the environment; [`check`] and its siblings check them. After
//! that, no code needs to ask whether a required value is present or valid.

mod admin;
mod allow;
mod audit;
mod bounds;
mod check;
mod compat;
mod credentials;
mod database;
mod denials;
mod effective;
mod either;
mod environment;
mod error;
mod folder;
mod header_rules;
mod host;
mod identity_names;
mod include;
mod included;
mod inputs;
mod limits;
mod listener;
mod located;
mod log;
mod merging;
mod names;
mod network_set;
mod networks;
mod observed;
mod otlp;
mod passing;
mod path;
mod peer;
mod pem;
mod places;
mod postgres;
mod raw;
mod reading;
mod realms;
mod reload;
mod rewrite;
mod route;
mod scalar;
mod server;
mod shutdown;
mod source;
mod text;
mod throttle;
mod timeouts;
mod tls;
mod totp;
mod unreached;
mod upstream;
mod validity;
mod warning;
mod wider;

pub use admin::Admin;
pub use allow::Group;
pub use audit::Audit;
pub use check::Config;
pub use compat::Compat;
pub use database::{Cache, Database, KeySource, Store};
pub use environment::{DATABASE_PASSWORD, STORE_KEY, kubernetes_variables};
pub use error::{ConfigError, Mistake, Mistakes, Place};
pub use header_rules::HeaderRules;
pub use host::HostPattern;
pub use inputs::Inputs;
pub use limits::Limits;
pub use listener::{Gateway, Service};
pub use located::{Located, Secret};
pub use log::{Access, Log, LogFormat};
pub use network_set::NetworkSet;
pub use networks::Network;
pub use otlp::Otlp;
pub use path::{PathPattern, STAR};
pub use peer::{Peer, PeerAddress};
pub use places::Places;
pub use postgres::{Password, Postgres};
pub use rewrite::Rewrite;
pub use route::Route;
pub use server::Server;
pub use shutdown::Shutdown;
pub use timeouts::Timeouts;
pub use tls::{
    Certificate, ClientCertificates, ClientRoots, Credential, Tls, TlsVersion, Transport,
};
pub use totp::Totp;
pub use upstream::{Balance, Ejection, Health, PeerHttp, PeerTls, Upstream};
pub use validity::Validity;
pub use warning::Warning;

#[cfg(test)]
mod tests;
