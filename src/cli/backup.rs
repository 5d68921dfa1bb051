use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::CliError;
use super::output::Output;
use super::setup::load;
use crate::server::store_options;
use crate::store::{self, Intent};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Target file; must not exist
    #[arg(value_name = "PATH")]
    to: PathBuf,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let config = load(config)?;
    let options = store_options(&config.store)?;
    store::expect(&options, Intent::Read)?;
    let Some(path) = options.database.path() else {
        return Err(CliError::NoBackup(options.database.location()));
    };
    let made = store::backup(path, options.timeout, &args.to)?;
    let keys: Vec<_> = made.keys.iter().map(ToString::to_string).collect();
    let value = json!({
        "path": args.to, "bytes": made.bytes, "identities": made.identities, "keys": keys,
    });
    output.print(&value, || {
        format!(
            "{}: {} identities, {} bytes; to restore it, you also need key {}, which is not in it",
            args.to.display(),
            made.identities,
            made.bytes,
            keys.join(" and key "),
        )
    });
    Ok(())
}
