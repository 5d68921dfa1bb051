//! Starting, stopping, reloading and replacing the process, and what a full disk or a wrong clock does.

pub(crate) mod clock;
mod full_disk;
mod lifecycle;
mod no_proxy;
mod reload;
mod replace;
mod stall;
mod start;
mod systemd;
mod unlogged;
