use std::future::pending;

use futures_util::FutureExt;

use super::*;
use crate::{Flaw, Principal, Proof, Rule};

/// An authenticator without a store, like one that calls another server.
struct Remote {
    /// A token that is right for every principal, from memory.
    kept: &'static str,
    /// The outcome for all other tokens.
    answer: Answer,
}

enum Answer {
    Unavailable,
    Never,
}

#[async_trait]
impl Authenticator for Remote {
    fn authenticate_now(
        &self,
        credential: &Credential<'_>,
        _: Source<'_>,
        _: UnixTime,
    ) -> Option<Result<Authenticated, Denial>> {
        (credential.token().expose() == self.kept).then(|| {
            let principal = Arc::new(credential.principal().to_owned());
            Ok(Authenticated::principal(principal, Proof::Nothing))
        })
    }

    async fn authenticate(
        &self,
        _: &Credential<'_>,
        _: Source<'_>,
        _: UnixTime,
    ) -> Result<Authenticated, Denial> {
        match self.answer {
            Answer::Unavailable => Err(Denial::Unavailable(StoreError::Timeout)),
            Answer::Never => pending().await,
        }
    }

    async fn confirm(&self, _: &Authenticated, _: UnixTime) -> Result<(), Denial> {
        unreachable!()
    }

    fn clock_offset(&self, _: &Credential<'_>, _: UnixTime) -> Option<i64> {
        Some(7)
    }

    fn delayed(&self, _: UnixTime) -> [(Scope, usize); 5] {
        unreachable!()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

const NOW: UnixTime = UnixTime::from_secs(1_700_000_015);

fn authority(answer: Answer) -> Authority {
    let kept = "123456";
    Authority::new(Arc::new(Remote { kept, answer }), Realms::default())
}

fn attempt(token: &str) -> Attempt<'_> {
    Attempt {
        presented: Credential::new("alice", "ops", token, 128).into(),
        source: Source::default(),
    }
}

/// Decides without waiting.
fn decide(authority: &Authority, attempt: &Attempt<'_>, policy: &Policy) -> Decision {
    let decision = authority.decide(attempt, policy, NOW);
    decision.now_or_never().unwrap()
}

fn reason(decision: &Decision) -> &'static str {
    match decision {
        Decision::Permit(_) => "permit",
        Decision::Denial(denial) => denial.reason(),
    }
}

fn allow(realm: &str) -> Policy {
    let rule = Rule {
        realm: realm.into(),
        name: crate::policy::Names::All,
    };
    Policy::Allow([rule].into())
}

#[test]
fn authenticator_without_a_store_permits_from_memory_at_once() {
    let authority = authority(Answer::Never);
    let decision = decide(&authority, &attempt("123456"), &allow("ops"));
    let Decision::Permit(permit) = decision else {
        panic!("{decision:?}")
    };
    let principal = Principal::new("alice", "ops", 128).unwrap();
    assert_eq!(permit.principal(), Some(principal.as_ref()));
    let other = attempt("000000");
    let decision = authority.decide(&other, &Policy::Authenticated, NOW);
    assert!(decision.now_or_never().is_none());
}

#[test]
fn failing_authenticator_permits_nobody() {
    let authority = authority(Answer::Unavailable);
    for policy in [Policy::Authenticated, allow("ops"), allow("dev")] {
        let decision = decide(&authority, &attempt("000000"), &policy);
        assert_eq!(reason(&decision), "store_unavailable");
    }
}

#[test]
fn authenticator_is_called_only_with_a_credential_that_the_policy_requires() {
    let authority = authority(Answer::Never);
    let anyone = decide(&authority, &attempt("000000"), &Policy::Anyone);
    assert_eq!(reason(&anyone), "permit");
    for (presented, expected) in [
        (Presented::Absent, "no_credential"),
        (Presented::Malformed(Flaw::TwoKinds), "malformed_credential"),
    ] {
        let attempt = Attempt {
            presented,
            source: Source::default(),
        };
        let decision = decide(&authority, &attempt, &Policy::Authenticated);
        assert_eq!(reason(&decision), expected);
    }
}

#[test]
fn policy_is_applied_above_every_authenticator() {
    let authority = authority(Answer::Never);
    let decision = decide(&authority, &attempt("123456"), &allow("dev"));
    assert_eq!(reason(&decision), "not_allowed");
    let capable = Policy::Capable(Capability::List);
    let decision = decide(&authority, &attempt("123456"), &capable);
    assert_eq!(reason(&decision), "not_allowed");
}

#[test]
fn clock_offset_is_computed_for_rejected_attempts_only() {
    let authority = authority(Answer::Never);
    let offset = |denial| authority.clock_offset(&attempt("000000"), &denial, NOW);
    let cause = crate::DenialCause::WrongToken;
    let delay = None;
    assert_eq!(offset(Denial::InvalidCredential { cause, delay }), Some(7));
    assert_eq!(offset(Denial::NotAllowed), None);
}

#[test]
fn observed_policy_permits_whom_it_would_deny_without_a_name_that_is_not_proved() {
    let authority = authority(Answer::Unavailable);
    let observe = |attempt: &Attempt<'_>, policy: &Policy| {
        let (permit, denial) = authority
            .observe(attempt, policy, NOW)
            .now_or_never()
            .unwrap();
        let name = permit.principal().map(|it| it.name().to_owned());
        (name, denial.map(|denial| denial.reason()))
    };
    let absent = Attempt {
        presented: Presented::Absent,
        source: Source::default(),
    };
    let alice = || Some("alice".to_owned());
    for (attempt, policy, expected) in [
        (absent, allow("ops"), (None, Some("no_credential"))),
        (
            attempt("000000"),
            allow("ops"),
            (None, Some("store_unavailable")),
        ),
        (
            attempt("123456"),
            allow("dev"),
            (alice(), Some("not_allowed")),
        ),
        (attempt("123456"), allow("ops"), (alice(), None)),
        (attempt("123456"), Policy::Anyone, (None, None)),
    ] {
        assert_eq!(observe(&attempt, &policy), expected);
    }
}
