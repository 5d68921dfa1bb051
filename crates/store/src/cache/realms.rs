//! The realms of cached identities. Many identities have the same one, so its text is stored once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use realmgate_core::Principal;

/// The number of realms from which those of no identity are looked for.
const MANY: usize = 1024;

/// The realms, and their number at which those that no identity has any more are removed.
pub(super) struct Realms(Mutex<(HashSet<Arc<str>>, usize)>);

impl Default for Realms {
    fn default() -> Self {
        Self(Mutex::new((HashSet::new(), MANY)))
    }
}

impl Realms {
    /// Shares the realm of a principal with the others.
    pub(super) fn share(&self, principal: &mut Principal) {
        let (realms, most) = &mut *self.0.lock();
        principal.share_realm(realms);
        if realms.len() > *most {
            realms.retain(|realm| Arc::strong_count(realm) > 1);
            *most = MANY.max(2 * realms.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(realm: usize) -> Principal {
        Principal::new("a", &format!("realm-{realm}"), 128).unwrap()
    }

    #[test]
    fn realm_is_stored_once_and_realms_of_nobody_are_removed() {
        let realms = Realms::default();
        let mut held: Vec<_> = (0..10).map(|_| principal(0)).collect();
        held.iter_mut().for_each(|it| realms.share(it));
        let texts: HashSet<_> = held.iter().map(|it| it.realm().as_ptr()).collect();
        assert_eq!(texts.len(), 1);
        for realm in 0..10 * MANY {
            realms.share(&mut principal(realm));
            assert!(realms.0.lock().0.len() <= MANY + 1);
        }
        let mut again = principal(0);
        realms.share(&mut again);
        assert_eq!(again.realm().as_ptr(), held[0].realm().as_ptr());
    }
}
