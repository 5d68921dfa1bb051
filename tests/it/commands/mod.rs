//! The commands, as users run them.

mod certificates;
mod cli;
mod client;
mod completions;
mod config;
mod explain;
mod flags;
mod import;
mod policy;
mod qr;
mod remote;
