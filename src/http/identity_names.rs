use http::{HeaderName, HeaderValue};

use super::identity::IdentityHeaders;
use crate::auth::Permit;

/// The headers that tell one upstream who is calling, at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityNames {
    /// The header with the name.
    pub name: Option<HeaderName>,
    /// The header with the realm.
    pub realm: Option<HeaderName>,
    /// The header with `name@realm`.
    pub user: Option<HeaderName>,
}

impl IdentityNames {
    /// Returns the names.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.name, &self.realm, &self.user].into_iter().flatten()
    }

    /// Returns the identity headers of a permit; none for an anonymous one.
    pub fn who<'a>(
        &'a self,
        permit: &Permit,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<'a> {
        let names = [&self.name, &self.realm, &self.user].into_iter();
        let values = IdentityHeaders::values(permit).into_iter().flatten();
        let headers = names.zip(values);
        headers.filter_map(|(name, value)| Some((name.clone()?, value)))
    }
}

/// The identity headers of an application, where some upstream has names of its own.
#[derive(Debug)]
pub struct IdentityOf {
    /// The headers of its upstream; `None` if it has only the default ones.
    pub names: Option<IdentityNames>,
    /// The headers of the other upstreams, which this application must not get from anyone.
    pub absent: Box<[HeaderName]>,
}

impl IdentityOf {
    /// Returns what an application with these names gets. `None` if no upstream has names of its own.
    pub fn new(identity: &IdentityHeaders, names: Option<&IdentityNames>) -> Option<Self> {
        if identity.others().is_empty() && names.is_none() {
            return None;
        }
        let is_absent =
            |name: &&HeaderName| names.is_none_or(|own| own.names().all(|own| own != *name));
        let absent = identity.others().iter().filter(is_absent);
        Some(Self {
            names: names.cloned(),
            absent: absent.cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::CredentialHeaders;

    #[test]
    fn names_of_other_upstreams_are_absent_and_all_are_reserved() {
        let named = |name: &'static str| Some(HeaderName::from_static(name));
        let headers = IdentityHeaders::new(&CredentialHeaders {
            name: HeaderName::from_static("x-auth-name"),
            realm: HeaderName::from_static("x-auth-realm"),
            token: HeaderName::from_static("x-auth-token"),
            name_chars: 128,
        });
        assert!(IdentityOf::new(&headers, None).is_none());
        let one = IdentityNames {
            user: named("x-who"),
            name: named("x-auth-name"),
            realm: None,
        };
        let other = IdentityNames {
            name: named("x-webauth-user"),
            user: named("x-who"),
            realm: None,
        };
        let headers = headers.with([&one, &other].into_iter().flat_map(IdentityNames::names));
        let absent = |names| IdentityOf::new(&headers, names).unwrap().absent;
        assert_eq!(*absent(None), ["x-webauth-user", "x-who"]);
        assert_eq!(*absent(Some(&one)), ["x-webauth-user"]);
        assert_eq!(*absent(Some(&other)), [""; 0]);
        for name in ["X-Who", "x_who", "X.Webauth_User"] {
            let name: HeaderName = name.parse().unwrap();
            assert!(headers.is_reserved(&name), "{name}");
            assert!(headers.is_dropped(&name, &[]), "{name}");
        }
        let near: HeaderName = "x-whom".parse().unwrap();
        assert!(!headers.is_reserved(&near));
    }
}
