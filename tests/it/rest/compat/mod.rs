//! The wire of ungleich-otp: what was recorded of the old server is replayed against realmgate.

mod differential;
mod exchange;
mod replay;
mod services;
