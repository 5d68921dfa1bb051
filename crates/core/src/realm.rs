/// A right of a principal in the REST API, beyond being authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Verify the token of another principal.
    Verify,
    /// Register an identity.
    Create,
    /// Read identities.
    List,
    /// Change an identity.
    Update,
    /// Delete an identity.
    Delete,
}

/// The two reserved realms. Principals of other realms have no capability.
///
/// Names are compared byte for byte, without case folding or Unicode normalization.
#[derive(Clone, Debug)]
pub struct Realms {
    admin: Box<str>,
    auth: Box<str>,
}

impl Realms {
    /// Makes the pair from the name of the administering realm and that of the verifying realm.
    pub fn new(admin: &str, auth: &str) -> Self {
        Self {
            admin: admin.into(),
            auth: auth.into(),
        }
    }

    /// Returns the realm whose principals administer identities.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// Returns the realm whose principals verify others.
    pub fn auth(&self) -> &str {
        &self.auth
    }

    /// Returns whether principals of `realm` have the capability.
    pub fn grant(&self, realm: &str, capability: Capability) -> bool {
        match capability {
            Capability::Verify => realm == &*self.auth,
            Capability::Create | Capability::List | Capability::Update | Capability::Delete => {
                realm == &*self.admin
            }
        }
    }
}

impl Default for Realms {
    fn default() -> Self {
        Self::new("ungleich-admin", "ungleich-auth")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Capability; 5] = [
        Capability::Verify,
        Capability::Create,
        Capability::List,
        Capability::Update,
        Capability::Delete,
    ];

    fn granted(realm: &str) -> Vec<Capability> {
        let realms = Realms::default();
        ALL.into_iter()
            .filter(|&capability| realms.grant(realm, capability))
            .collect()
    }

    #[test]
    fn admin_realm_administers_but_does_not_verify() {
        assert_eq!(granted("ungleich-admin"), ALL[1..]);
    }

    #[test]
    fn auth_realm_only_verifies() {
        assert_eq!(granted("ungleich-auth"), [Capability::Verify]);
    }

    #[test]
    fn other_realms_and_look_alikes_hold_nothing() {
        for realm in [
            "ungleich-intern",
            "Ungleich-Admin",
            "ungleich-admin ",
            "ungleich-admın",
            "ungleich‑admin",
            "",
        ] {
            assert_eq!(granted(realm), [], "{realm}");
        }
    }
}
