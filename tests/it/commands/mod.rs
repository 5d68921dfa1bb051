//! The commands, each as somebody types it.

mod cli;
mod client;
mod config;
mod explain;
mod flags;
mod import;
