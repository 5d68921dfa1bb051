use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::setup::load;
use crate::comparison::{STEPS, compare};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Configuration before the change, or a directory with realmgate.toml
    old: PathBuf,
    /// Configuration after the change, or a directory with realmgate.toml
    new: PathBuf,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    let old = load(Some(&file(&args.old)))?;
    let new = load(Some(&file(&args.new)))?;
    let compared = compare(&old, &new, STEPS)?;
    output.print(&compared, || {
        let items = compared.opens.iter().chain(&compared.closes);
        let lines: Vec<_> = items.map(ToString::to_string).collect();
        match lines.is_empty() {
            true => "no difference in effect".to_owned(),
            false => lines.join("\n"),
        }
    });
    match compared.is_empty() {
        true => Ok(()),
        false => Err(CliError::Differs(
            compared.opens.len(),
            compared.closes.len(),
        )),
    }
}

fn file(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("realmgate.toml"),
        false => path.to_owned(),
    }
}
