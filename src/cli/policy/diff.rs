use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::setup::load;
use crate::comparison::{Comparison, Counts, Limits, STEPS, compare};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Configuration before the change, or a directory with realmgate.toml
    old: PathBuf,
    /// Configuration after the change, or a directory with realmgate.toml
    new: PathBuf,
    /// Maximum number of entries of each kind, the most important ones; the rest is counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    let old = load(Some(&file(&args.old)))?;
    let new = load(Some(&file(&args.new)))?;
    let limits = Limits {
        steps: STEPS,
        items: args.limit,
    };
    let compared = compare(&old, &new, limits)?;
    output.print(&compared, || text(&compared));
    match compared.is_empty() {
        true => Ok(()),
        false => Err(CliError::Differs(compared.counts())),
    }
}

fn text(compared: &Comparison) -> String {
    if compared.is_empty() {
        return "no difference in effect".to_owned();
    }
    let mut lines: Vec<_> = compared.items().map(ToString::to_string).collect();
    let Counts {
        opens,
        closes,
        changes,
    } = compared.omitted;
    if compared.omitted.sum() > 0 {
        lines.push(format!(
            "and less important ones: opens {opens}, closes {closes}, changes {changes} more (--limit)"
        ));
    }
    lines.join("\n")
}

fn file(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("realmgate.toml"),
        false => path.to_owned(),
    }
}
