//! Starting, stopping, reloading and replacing the process, full disks and wrong clocks.

pub(crate) mod clock;
mod full_disk;
mod health;
mod image;
mod instructions;
mod lifecycle;
mod loops;
mod no_proxy;
mod package;
mod reload;
mod replace;
mod stall;
mod start;
mod systemd;
mod unlogged;
mod watch;
