//! The commands, each as somebody types it.

mod certificates;
mod cli;
mod client;
mod config;
mod explain;
mod flags;
mod import;
mod qr;
