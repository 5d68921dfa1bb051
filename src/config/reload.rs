use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};

use sha2::{Digest, Sha256};

use super::check::Config;
use super::database::Database;
use super::validity::Validity;

impl Config {
    /// Returns the first section that differs from `new` and that only a restart can change. `None`
    /// if a reload can change all differences: routes, upstreams, trusted proxies, certificates,
    /// PROXY protocol and TLS, limits, timeouts and logging.
    pub fn needs_restart(&self, new: &Self) -> Option<&'static str> {
        // Equal settings have the same Debug output, and no Debug output hides a setting.
        let differs = |old: &dyn Debug, new: &dyn Debug| format!("{old:?}") != format!("{new:?}");
        [
            ("store or cache", differs(&self.store, &new.store)),
            ("service.listen", self.service.listen != new.service.listen),
            ("gateway.listen", self.gateway.listen != new.gateway.listen),
            (
                "gateway.serve_api",
                self.gateway.serve_api != new.gateway.serve_api,
            ),
            (
                "gateway.health_path",
                self.gateway.health_path != new.gateway.health_path,
            ),
            ("grpc", self.grpc != new.grpc),
            ("metrics.listen", self.metrics != new.metrics),
            ("admin.listen", self.admin.listen != new.admin.listen),
            ("admin.origin", self.admin.origin != new.admin.origin),
            ("realms", differs(&self.realms, &new.realms)),
            (
                "credentials",
                differs(&self.credential_headers, &new.credential_headers),
            ),
            ("totp", differs(&self.totp, &new.totp)),
            ("throttle", self.throttle != new.throttle),
            ("realm", self.one_time_realms != new.one_time_realms),
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

    /// Returns each file of certificates, with the time at which its first certificate expires, in
    /// seconds since 1970.
    pub fn certificate_ends(&self) -> BTreeMap<&str, i64> {
        self.validities.iter().filter_map(Validity::end).collect()
    }

    /// Returns whether `new` has the same meaning.
    pub fn is_like(&self, new: &Self) -> bool {
        self.needs_restart(new).is_none() && self.digest() == new.digest()
    }

    /// Returns 16 hexadecimal digits that identify the configuration by its meaning, not by its
    /// text. The name of the node and the number of its threads do not count, so that nodes with the
    /// same file have the same digest.
    pub fn digest(&self) -> String {
        let mut shared = self.clone();
        shared.server.node = Box::default();
        shared.server.threads = 0;
        shared.audit.node = Box::default();
        if let Database::Postgres(server) = &mut shared.store.database {
            server.node = Box::default();
        }
        let mut hasher = Hasher(Sha256::new());
        // Hashed piece by piece: the text is long where many routes have long lists.
        let _ = write!(hasher, "{shared:?}");
        let digest = hasher.0.finalize();
        let digits = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

/// Hashes the text that is written to it.
struct Hasher(Sha256);

impl Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
