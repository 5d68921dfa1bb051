//! The commands, each as somebody types it.

mod cli;
mod client;
mod explain;
mod import;
