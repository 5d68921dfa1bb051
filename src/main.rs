//! The `realmgate` command.

fn main() {}
