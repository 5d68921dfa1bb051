use super::error::CliError;
use super::local_store::now;
use super::output::{Output, message};
use super::secret;
use crate::auth::{Algorithm, Parameters, Seed, Totp};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Seed in base32, or `-` to read it from standard input, so that `ps` does not show it
    #[arg(long, env = "REALMGATE_SEED", hide_env_values = true)]
    seed: String,
    /// Hash algorithm: SHA1, SHA256 or SHA512
    #[arg(long, default_value = "SHA1")]
    algorithm: Algorithm,
    /// Number of digits of a token, 6 to 8
    #[arg(long, default_value_t = 6)]
    digits: u8,
    /// Length of a time step in seconds, 1 to 3600
    #[arg(long, default_value_t = 30)]
    period: u16,
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Args { seed: [redacted], .. }")
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    let text = secret::value(&args.seed)?;
    let parameters = Parameters::new(args.algorithm, args.digits, args.period)?;
    let totp = Totp::new(&Seed::from_base32(text.trim())?, parameters);
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
