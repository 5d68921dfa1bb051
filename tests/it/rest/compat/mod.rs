//! The protocol of ungleich-otp: recorded exchanges are replayed with realmgate.

mod differential;
mod exchange;
mod replay;
mod services;
