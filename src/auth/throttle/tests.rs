use super::*;

const START: u64 = 1_700_000_000;

fn throttle() -> Throttle {
    Throttle::new(ThrottleSettings::default(), [7; 16])
}

fn subject(name: &str, source: &str) -> Subject<'static> {
    let name: &'static str = name.to_owned().leak();
    Subject {
        who: PrincipalRef::new(name, "ops", 128).unwrap(),
        is_known: true,
        pardoned: UnixTime::from_secs(0),
        source: Some(source.parse().unwrap()),
    }
}

fn settle(throttle: &Throttle, who: Subject<'_>, is_right: bool, at: u64) -> Verdict {
    let verdict = throttle.settle(who, is_right, UnixTime::from_secs(START + at));
    if let Verdict::Pass { is_news: true } = verdict {
        throttle.proved(who, UnixTime::from_secs(START + at));
    }
    verdict
}

fn wrong(throttle: &Throttle, who: Subject<'_>, at: u64) -> Verdict {
    settle(throttle, who, false, at)
}

fn delayed(secs: u64) -> Verdict {
    Verdict::Delayed {
        left: Duration::from_secs(secs),
    }
}

/// Attempts at full rate for so many seconds; says how many got a verdict.
fn verdicts(
    throttle: &Throttle,
    from: u64,
    secs: u64,
    mut who: impl FnMut(u64) -> Subject<'static>,
) -> u32 {
    let mut verdicts = 0;
    for at in from..from + secs {
        for _ in 0..20 {
            let verdict = wrong(throttle, who(at), at);
            verdicts += u32::from(matches!(verdict, Verdict::Counted { .. }));
        }
    }
    verdicts
}

#[test]
fn delays_double_and_end_by_themselves() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for _ in 0..4 {
        assert_eq!(wrong(&throttle, alice, 0), Verdict::Counted { delay: None });
    }
    let mut at = 0;
    for secs in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        let delay = Some(Delay {
            lasts: Duration::from_secs(secs),
            // One attack, however many failures.
            first_of: (secs == 1).then_some(Slowed::Principal),
        });
        assert_eq!(wrong(&throttle, alice, at), Verdict::Counted { delay });
        // Neither evaluated nor prolonging: the right token waits too, and waiting does not begin anew.
        for is_right in [true, false] {
            assert_eq!(settle(&throttle, alice, is_right, at), delayed(secs));
            let last = settle(&throttle, alice, is_right, at + secs - 1);
            assert_eq!(last, delayed(1));
        }
        at += secs;
    }
    assert_eq!(
        settle(&throttle, alice, true, at),
        Verdict::Pass { is_news: true }
    );
}

#[test]
fn nobody_elsewhere_locks_out_who_is_known_at_its_own_address() {
    let throttle = throttle();
    let home = subject("admin", "192.0.2.1");
    assert!(matches!(
        settle(&throttle, home, true, 0),
        Verdict::Pass { .. }
    ));
    let mut attackers = 0;
    for at in 0..3600 {
        for _ in 0..20 {
            attackers += 1;
            let from = format!("198.51.{}.{}", attackers / 256 % 256, attackers % 256);
            wrong(&throttle, subject("admin", &from), at);
        }
        let verdict = settle(&throttle, home, true, at);
        assert!(matches!(verdict, Verdict::Pass { .. }), "{at}: {verdict:?}");
    }
    // At another address it has to wait like anybody.
    let away = settle(&throttle, subject("admin", "192.0.2.2"), true, 3599);
    assert!(matches!(away, Verdict::Delayed { .. }));
}

#[test]
fn own_bucket_has_a_budget_too_and_a_success_clears_it() {
    let throttle = throttle();
    let home = subject("admin", "192.0.2.1");
    settle(&throttle, home, true, 0);
    for _ in 0..5 {
        assert!(matches!(wrong(&throttle, home, 1), Verdict::Counted { .. }));
    }
    assert_eq!(settle(&throttle, home, true, 1), delayed(1));
    assert_eq!(
        settle(&throttle, home, true, 2),
        Verdict::Pass { is_news: false }
    );
    assert_eq!(wrong(&throttle, home, 2), Verdict::Counted { delay: None });
}

#[test]
fn guesses_at_one_principal_are_as_few_from_many_sources() {
    for sources in [1, 100, 10_000] {
        let throttle = throttle();
        let mut turn = 0_u32;
        let verdicts = verdicts(&throttle, 0, 3600, |_| {
            turn += 1;
            let source = turn % sources;
            subject("alice", &format!("10.{}.{}.1", source / 256, source % 256))
        });
        assert!(verdicts <= 5 + 10 + 4, "{sources}: {verdicts}");
    }
}

#[test]
fn guesses_of_a_day_are_few() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    let day = 24 * 60 * 60;
    let first = verdicts(&throttle, 0, day, |_| alice);
    // Some 17 minutes until the longest delay, then one in 15 minutes.
    assert!((100..=112).contains(&first), "{first}");
    let next = verdicts(&throttle, day, day, |_| alice);
    assert!((95..=97).contains(&next), "{next}");
}

#[test]
fn source_that_tries_many_principals_is_delayed_as_a_whole() {
    let throttle = throttle();
    let mut turn = 0;
    let verdicts = verdicts(&throttle, 0, 3600, |_| {
        turn += 1;
        subject(&format!("n{turn}"), "192.0.2.1")
    });
    assert!(verdicts <= 50 + 10 + 4, "{verdicts}");
    // A principal that is known there goes on.
    let home = subject("home", "192.0.2.9");
    settle(&throttle, home, true, 0);
    for n in 0..100 {
        wrong(&throttle, subject(&format!("m{n}"), "192.0.2.9"), 0);
    }
    assert!(matches!(
        settle(&throttle, home, true, 1),
        Verdict::Pass { .. }
    ));
}

#[test]
fn addresses_of_one_ipv6_network_are_one_source() {
    let throttle = throttle();
    let mut turn = 0;
    let verdicts = verdicts(&throttle, 0, 60, |_| {
        turn += 1;
        subject(&format!("n{turn}"), &format!("2001:db8::{turn:x}"))
    });
    assert!(verdicts <= 50 + 6, "{verdicts}");
    let mapped = |name: &str| subject(name, "::ffff:192.0.2.1");
    settle(&throttle, subject("alice", "192.0.2.1"), true, 0);
    assert_eq!(
        settle(&throttle, mapped("alice"), true, 0),
        Verdict::Pass { is_news: false }
    );
}

#[test]
fn unknown_names_are_delayed_alike_and_push_out_nothing_that_matters() {
    let throttle = throttle();
    let unknown = |name: &str, source: &str| Subject {
        is_known: false,
        ..subject(name, source)
    };
    let (alice, nobody) = (
        subject("alice", "192.0.2.1"),
        unknown("nobody", "192.0.2.2"),
    );
    for at in 0..40 {
        assert_eq!(wrong(&throttle, alice, at), wrong(&throttle, nobody, at));
    }
    let home = subject("home", "192.0.2.3");
    settle(&throttle, home, true, 0);
    let source = |n: u32| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    for n in 0..1_000_000_u32 {
        let who = unknown(&format!("n{n}"), &source(n));
        wrong(&throttle, who, 40);
    }
    assert!(matches!(
        wrong(&throttle, alice, 40),
        Verdict::Delayed { .. }
    ));
    assert!(matches!(
        wrong(&throttle, nobody, 40),
        Verdict::Delayed { .. }
    ));
    assert_eq!(
        settle(&throttle, home, true, 41),
        Verdict::Pass { is_news: false }
    );
}

#[test]
fn parallel_guesses_get_no_more_verdicts() {
    let throttle = throttle();
    let verdicts = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (throttle, verdicts) = (&throttle, &verdicts);
            scope.spawn(move || {
                let alice = subject("alice", &format!("192.0.2.{thread}"));
                for _ in 0..10_000 {
                    if let Verdict::Counted { .. } = wrong(throttle, alice, 0) {
                        verdicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(verdicts.into_inner(), 5);
}

#[test]
fn counts_survive_being_saved() {
    let before = throttle();
    let (alice, home) = (subject("alice", "192.0.2.1"), subject("home", "192.0.2.3"));
    settle(&before, home, true, 0);
    for _ in 0..5 {
        wrong(&before, alice, 0);
    }
    let records = before.changed(100);
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(before.changed(100), []);
    let after = throttle();
    after.restore(&records);
    assert_eq!(settle(&after, alice, true, 0), delayed(1));
    assert_eq!(
        settle(&after, home, true, 0),
        Verdict::Pass { is_news: false }
    );
}

#[test]
fn clock_that_goes_back_holds_nobody_for_longer() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for at in [0, 0, 0, 0, 0, 1, 3, 7] {
        wrong(&throttle, alice, 100_000 + at);
    }
    // The delay runs on from the time that it is now.
    assert_eq!(wrong(&throttle, alice, 0), delayed(8));
    assert_eq!(
        settle(&throttle, alice, true, 8),
        Verdict::Pass { is_news: true }
    );
}

#[test]
fn pardon_counts_for_what_was_before() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for _ in 0..5 {
        wrong(&throttle, alice, 0);
    }
    let pardoned = Subject {
        pardoned: UnixTime::from_secs(START + 1),
        ..alice
    };
    assert_eq!(wrong(&throttle, alice, 0), delayed(1));
    assert_eq!(
        settle(&throttle, pardoned, true, 1),
        Verdict::Pass { is_news: true }
    );
}

#[test]
fn counts_are_forgotten_a_day_after_the_last_failure() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for _ in 0..5 {
        wrong(&throttle, alice, 0);
    }
    let day = 24 * 60 * 60;
    assert_eq!(
        wrong(&throttle, alice, day),
        Verdict::Counted { delay: None }
    );
}

proptest::proptest! {
    #[test]
    fn no_two_principals_or_sources_share_a_tag(
        one in crate::auth::tricky(), other in crate::auth::tricky(),
        from in proptest::num::u32::ANY, elsewhere in proptest::num::u32::ANY,
    ) {
        let throttle = throttle();
        let who = |it: &(String, String)| -> PrincipalRef<'static> {
            let it: &'static (String, String) = Box::leak(Box::new(it.clone()));
            PrincipalRef::new(&it.0, &it.1, 128).unwrap()
        };
        let is_same = one == other;
        let (one, other) = (who(&one), who(&other));
        assert_eq!(throttle.tag(&one) == throttle.tag(&other), is_same);
        let [from, elsewhere] = [from, elsewhere].map(|it| IpAddr::from(it.to_be_bytes()));
        assert_eq!(
            throttle.pair(one, from) == throttle.pair(other, elsewhere),
            is_same && from == elsewhere
        );
        assert_eq!(throttle.pair(one, from) == throttle.pair(other, from), is_same);
    }
}
