//! Sessions, and tokens that count once.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::tests::{settings, totp};
use super::*;
use crate::{Session, SessionId, State};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_015);

/// Sessions in memory, which counts how often it is read.
#[derive(Default)]
struct Kept {
    session: Mutex<Option<Session>>,
    reads: AtomicUsize,
}

#[async_trait]
impl Sessions for Kept {
    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.session.lock().clone().filter(|it| it.id == id))
    }

    async fn see_session(&self, _: SessionId, _: UnixTime) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Makes an authenticator with alice and a session of hers.
fn with_session(secret: &SessionSecret) -> (LocalAuthenticator, Arc<Kept>) {
    let memory = Arc::new(tests::alice(Some(totp()), State::Enabled));
    let alice = memory.alice();
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let identities = Arc::clone(&memory) as _;
    let counts = Counts::default();
    let local = LocalAuthenticator::new(identities, memory, settings(), &decoy, &counts);
    let kept = Arc::new(Kept::default());
    *kept.session.lock() = Some(Session {
        id: secret.id(),
        kind: SessionKind::Session,
        identity: alice.id,
        principal: alice.principal.clone(),
        made: NOW,
        seen: NOW,
        source: None,
    });
    (local.with_sessions(Arc::clone(&kept) as _), kept)
}

#[tokio::test]
async fn delayed_source_reads_only_sessions_that_were_found_before() {
    let known = SessionSecret::generate().unwrap();
    let (local, kept) = with_session(&known);
    let source = Source::of(Some("192.0.2.1".parse().unwrap()));
    let resume = async |secret: &SessionSecret| {
        let session = (secret, SessionKind::Session);
        local.resume_session(session, source, NOW).await
    };
    assert!(resume(&known).await.unwrap().is_some());
    let mut guesses = 0;
    while resume(&SessionSecret::generate().unwrap()).await.is_ok() {
        guesses += 1;
        assert!(guesses < 1000, "guesses of sessions are not throttled");
    }
    assert!(guesses > 0);
    let before = kept.reads.load(Ordering::Relaxed);
    for _ in 0..100 {
        let denied = resume(&SessionSecret::generate().unwrap()).await;
        assert!(matches!(denied, Err(Denial::Throttled { .. })));
    }
    assert_eq!(kept.reads.load(Ordering::Relaxed), before);
    assert!(resume(&known).await.unwrap().is_some());
    // Once it has ended, its secret is one like any other.
    *kept.session.lock() = None;
    assert!(resume(&known).await.is_err());
    let before = kept.reads.load(Ordering::Relaxed);
    assert!(resume(&known).await.is_err());
    assert_eq!(kept.reads.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn token_that_is_to_count_once_counts_once_in_any_realm() {
    let memory = Arc::new(tests::alice(Some(totp()), State::Enabled));
    let decoy = Seed::from_bytes(b"decoy").unwrap();
    let authority = tests::authority(&memory, settings(), &decoy);
    let token = totp().token(NOW);
    let credential = Credential::new("alice", "ops", &token, 128).unwrap();
    let decide = async |credential| {
        let attempt = crate::Attempt {
            presented: crate::Presented::Credential(credential),
            source: Source::default(),
        };
        let policy = crate::Policy::Authenticated;
        match authority.decide(&attempt, &policy, NOW).await {
            crate::Decision::Permit(_) => None,
            crate::Decision::Denial(denial) => Some(denial.reason()),
        }
    };
    assert_eq!(decide(credential.one_time()).await, None);
    assert_eq!(decide(credential.one_time()).await, Some("replayed"));
    assert_eq!(decide(credential).await, None);
}
