use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::local_store::now;
use super::option_error::OptionError;
use super::output::{Output, message};
use super::secret;
use crate::auth::{Algorithm, Parameters, Totp};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Seed: base32, an otpauth:// URL, or the JSON of `realmgate identity create`; `-` reads it from standard input,
    /// so that `ps` does not show it [env: REALMGATE_SEED]
    #[arg(long, conflicts_with = "seed_file")]
    seed: Option<String>,
    /// File with the seed in one of these forms, or `-` for standard input [env: REALMGATE_SEED_FILE]
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
    /// Hash algorithm: SHA1, SHA256 or SHA512 [default: that of the URL or JSON, else SHA1]
    #[arg(long)]
    algorithm: Option<Algorithm>,
    /// Number of digits of a token, 6 to 8 [default: that of the URL or JSON, else 6]
    #[arg(long)]
    digits: Option<u8>,
    /// Length of a time step in seconds, 1 to 3600 [default: that of the URL or JSON, else 30]
    #[arg(long)]
    period: Option<u16>,
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Args { seed: [redacted], .. }")
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    let stored = seed(args)?;
    let base = stored.parameters();
    let parameters = Parameters::new(
        args.algorithm.unwrap_or_else(|| base.algorithm()),
        args.digits.unwrap_or_else(|| base.digits()),
        args.period.unwrap_or_else(|| base.period()),
    )?;
    let totp = Totp::new(&stored.seed(), parameters);
    let now = now();
    let (token, remaining) = (totp.token(now), totp.remaining(now));
    output.print(
        &serde_json::json!({ "token": token, "remaining": remaining }),
        || token.clone(),
    );
    if !output.is_json() {
        message(&format!("valid for {remaining} s"));
    }
    Ok(())
}

/// Returns the seed of the options, or else of the environment.
fn seed(args: &Args) -> Result<Totp, CliError> {
    match (&args.seed, &args.seed_file) {
        (Some(seed), _) => return secret::seed("--seed", seed, "--seed-file"),
        (None, Some(path)) => return secret::seed_file(path),
        (None, None) => {}
    }
    let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty());
    match (variable("REALMGATE_SEED"), variable("REALMGATE_SEED_FILE")) {
        (Some(_), Some(_)) => Err(OptionError::TwoSeeds.into()),
        (Some(seed), None) => {
            let seed = seed
                .into_string()
                .map_err(|_: OsString| OptionError::Missing("REALMGATE_SEED"))?;
            secret::seed("REALMGATE_SEED", &seed, "REALMGATE_SEED_FILE")
        }
        (None, Some(path)) => secret::seed_file(Path::new(&path)),
        (None, None) => Err(OptionError::Missing("--seed-file or --seed").into()),
    }
}
