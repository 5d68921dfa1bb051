use std::fmt::Debug;

use sha2::{Digest, Sha256};

use super::Config;

impl Config {
    /// Names the first section in which `new` differs and which takes a restart to change; none if all
    /// that differs can be changed while realmgate runs: routes, upstreams, trusted proxies,
    /// certificates and what comes before HTTP, limits and timeouts, what is logged.
    pub fn needs_restart(&self, new: &Self) -> Option<&'static str> {
        // Equal settings print alike, and no setting hides a part of itself.
        let differs = |old: &dyn Debug, new: &dyn Debug| format!("{old:?}") != format!("{new:?}");
        [
            ("store or cache", differs(&self.store, &new.store)),
            ("service.listen", self.service.listen != new.service.listen),
            ("gateway.listen", self.gateway.listen != new.gateway.listen),
            (
                "gateway.serve_api",
                self.gateway.serve_api != new.gateway.serve_api,
            ),
            ("grpc", self.grpc != new.grpc),
            ("metrics.listen", self.metrics != new.metrics),
            ("realms", differs(&self.realms, &new.realms)),
            (
                "credentials",
                differs(&self.credential_headers, &new.credential_headers),
            ),
            ("totp", differs(&self.totp, &new.totp)),
            ("throttle", self.throttle != new.throttle),
            ("realm", self.once != new.once),
            ("server", differs(&self.server, &new.server)),
            ("shutdown", differs(&self.shutdown, &new.shutdown)),
            ("audit", differs(&self.audit, &new.audit)),
            ("log.format", self.log.format != new.log.format),
            ("otlp", self.otlp != new.otlp),
            ("compat", differs(&self.compat, &new.compat)),
        ]
        .into_iter()
        .find_map(|(section, differs)| differs.then_some(section))
    }

    /// Returns 16 hexadecimal digits that tell configurations apart, of what they mean and not of how
    /// they are written.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}"));
        let digits = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}
