use crate::auth::{NewIdentity, Parameters, Principal, Seed, Store, Terms, Totp};
use crate::cli::error::CliError;
use crate::cli::local_store::now;

/// An identity of the demo with its seed, which lasts as long as the process.
pub(super) struct Actor {
    pub(super) name: &'static str,
    pub(super) realm: &'static str,
    pub(super) seed: Seed,
}

impl Actor {
    pub(super) fn token(&self) -> String {
        self.totp().token(now())
    }

    /// Returns a token of the right length that matches no step within 10 of the current one.
    pub(super) fn wrong_token(&self) -> String {
        let totp = self.totp();
        (0..)
            .map(|n| format!("{n:06}"))
            .find(|token| totp.check(token, now(), 10).is_none())
            .unwrap_or_default()
    }

    pub(super) fn principal(&self) -> Result<Principal, CliError> {
        Ok(Principal::new(self.name, self.realm, 128)?)
    }

    fn totp(&self) -> Totp {
        Totp::new(&self.seed, Parameters::default())
    }

    pub(super) async fn register(
        store: &dyn Store,
        name: &'static str,
        realm: &'static str,
    ) -> Result<Self, CliError> {
        let seed = Seed::generate()?;
        let new = NewIdentity {
            principal: Principal::new(name, realm, 128)?,
            seed: seed.clone(),
            parameters: Parameters::default(),
            terms: Terms::default(),
        };
        store
            .create(new, now())
            .await
            .map_err(|error| CliError::of_change(error, name, realm))?;
        Ok(Self { name, realm, seed })
    }
}
