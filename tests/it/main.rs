//! realmgate as its users run it: the real binary, real sockets, real clients.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attacks;
mod audit;
mod cli;
mod client;
mod clients;
mod clock;
mod compat;
mod corpus;
mod database_files;
mod docs;
mod explain;
mod flood;
mod forward_auth;
mod frameworks;
mod front;
mod full_disk;
mod guard;
mod harness;
mod import;
mod leaks;
mod lifecycle;
mod limits;
mod logs;
mod metrics;
mod no_proxy;
mod observability;
mod oracle;
mod paths;
mod proxy;
mod reload;
mod replace;
mod rest;
mod sealing;
mod servers;
mod shape;
mod store;
mod systemd;
mod traces;
mod wire;
