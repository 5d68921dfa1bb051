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
        is_broken: false,
        unthrottled: UnixTime::from_secs(0),
        source: Source::of(Some(source.parse().unwrap())),
    }
}

fn settle(throttle: &Throttle, who: Subject<'_>, is_right: bool, at: u64) -> Verdict {
    let verdict = throttle.settle(who, is_right, Claimed::No, UnixTime::from_secs(START + at));
    if let Verdict::Pass { is_news: true } = verdict {
        throttle.trust(who.who, who.source, UnixTime::from_secs(START + at));
    }
    match verdict {
        Verdict::Counted { delay, .. } => counted(delay),
        other => other,
    }
}

fn counted(delay: Option<Delay>) -> Verdict {
    Verdict::Counted {
        delay,
        undo: Undo::default(),
    }
}

fn wrong(throttle: &Throttle, who: Subject<'_>, at: u64) -> Verdict {
    settle(throttle, who, false, at)
}

fn delayed(secs: u64) -> Verdict {
    delayed_as(Throttled::Principal, secs)
}

fn delayed_as(whom: Throttled, secs: u64) -> Verdict {
    Verdict::Delayed {
        left: Duration::from_secs(secs),
        whom,
    }
}

/// Attempts at full rate for a number of seconds; returns the number evaluated.
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
        assert_eq!(wrong(&throttle, alice, 0), counted(None));
    }
    let mut at = 0;
    // One failure is forgiven before the delay of 512 s ends.
    for secs in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 900, 900] {
        let delay = Some(Delay {
            lasts: Duration::from_secs(secs),
            // One attack, regardless of the number of failures.
            first_of: (secs == 1).then_some(Throttled::Principal),
        });
        assert_eq!(wrong(&throttle, alice, at), counted(delay));
        // Neither evaluated nor prolonging: the right token waits too, and waiting does not begin
        // anew.
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
fn principal_cannot_be_locked_out_of_its_trusted_source_from_elsewhere() {
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
    // At another address it is delayed like any client.
    let away = settle(&throttle, subject("admin", "192.0.2.2"), true, 3599);
    assert!(matches!(away, Verdict::Delayed { .. }));
}

#[test]
fn success_forgives_nothing() {
    let throttle = throttle();
    let home = subject("admin", "192.0.2.1");
    settle(&throttle, home, true, 0);
    let mut verdicts = 0;
    for _ in 0..1000 {
        settle(&throttle, home, true, 1);
        verdicts += u32::from(matches!(wrong(&throttle, home, 1), Verdict::Counted { .. }));
    }
    assert_eq!(verdicts, 5);
    let whom = Throttled::TrustedSource;
    assert_eq!(settle(&throttle, home, true, 1), delayed_as(whom, 1));
    assert_eq!(
        settle(&throttle, home, true, 2),
        Verdict::Pass { is_news: false }
    );
    // Earlier failures still count.
    let delay = Some(Delay {
        lasts: Duration::from_secs(2),
        first_of: None,
    });
    assert_eq!(wrong(&throttle, home, 2), counted(delay));
}

#[test]
fn guessing_at_one_trusted_source_locks_the_principal_out_there_only() {
    let throttle = throttle();
    let [shared, other] = ["192.0.2.1", "192.0.2.2"].map(|source| subject("admin", source));
    settle(&throttle, shared, true, 0);
    settle(&throttle, other, true, 0);
    let mut denied = 0;
    for at in (0..12 * 3600).step_by(5) {
        wrong(&throttle, shared, at);
        let whom = Throttled::TrustedSource;
        let here = settle(&throttle, shared, true, at);
        denied += u32::from(matches!(here, Verdict::Delayed { whom: it, .. } if it == whom));
        let there = settle(&throttle, other, true, at);
        assert!(matches!(there, Verdict::Pass { .. }), "{at}: {there:?}");
    }
    assert!(denied > 12 * 720 - 20, "{denied}");
    let failures = throttle.failures(shared, UnixTime::from_secs(START + 12 * 3600 - 5));
    assert_eq!(failures.trusted_sources, 2);
    assert!((9..=10).contains(&failures.trusted), "{failures:?}");
    assert!(failures.trusted_delay > Duration::ZERO, "{failures:?}");
}

#[test]
fn guesses_of_a_day_are_few_despite_successes_in_between() {
    const DAY: u64 = 24 * 60 * 60;
    for sources in [1, 40, 10_000] {
        let throttle = throttle();
        let source = |n: u64| format!("10.{}.{}.1", n / 256 % 256, n % 256);
        let mut verdicts = 0;
        let mut turn = 0;
        for at in (0..DAY).step_by(9) {
            // The principal authenticates everywhere, and is attacked wherever it does.
            for _ in 0..3 {
                turn += 1;
                let who = subject("admin", &source(turn % sources));
                settle(&throttle, who, true, at);
                let verdict = wrong(&throttle, who, at);
                verdicts += u32::from(matches!(verdict, Verdict::Counted { .. }));
            }
        }
        assert!(verdicts <= 150, "{sources}: {verdicts}");
    }
}

#[test]
fn failure_taken_back_counts_in_no_scope() {
    let throttle = throttle();
    let [home, away] = ["192.0.2.1", "192.0.2.2"].map(|source| subject("admin", source));
    settle(&throttle, home, true, 0);
    for who in [home, away] {
        for at in 0..100 {
            let now = UnixTime::from_secs(START + at);
            let Verdict::Counted { undo, .. } = throttle.settle(who, false, Claimed::No, now)
            else {
                panic!("{at}");
            };
            throttle.take_back(who, undo, true, now);
        }
    }
    let failures = throttle.failures(home, UnixTime::from_secs(START + 100));
    assert_eq!((failures.elsewhere, failures.trusted), (0, 0));
}

#[test]
fn created_or_deleted_name_keeps_its_failures() {
    let throttle = throttle();
    let known = subject("ghost", "192.0.2.1");
    let unknown = Subject {
        is_known: false,
        is_broken: false,
        ..known
    };
    for _ in 0..5 {
        wrong(&throttle, unknown, 0);
    }
    assert_eq!(wrong(&throttle, known, 0), delayed(1));
    assert!(matches!(
        wrong(&throttle, known, 1),
        Verdict::Counted { .. }
    ));
    assert_eq!(wrong(&throttle, unknown, 1), delayed(2));
    assert_eq!(wrong(&throttle, known, 1), delayed(2));
    // Unthrottled failures do not come back.
    let unthrottled = Subject {
        unthrottled: UnixTime::from_secs(START + 2),
        ..known
    };
    assert!(matches!(
        settle(&throttle, unthrottled, true, 2),
        Verdict::Pass { .. }
    ));
    let other = subject("ghost", "192.0.2.2");
    assert_eq!(
        throttle
            .failures(other, UnixTime::from_secs(START + 2))
            .elsewhere,
        0
    );
}

#[test]
fn clients_of_a_verifier_do_not_throttle_each_other() {
    let throttle = throttle();
    let verifier = PrincipalRef::new("app", "ungleich-auth", 128).unwrap();
    let of = |name: &str, party| Subject {
        source: Source {
            party: Some(party),
            ..subject(name, "192.0.2.1").source
        },
        ..subject(name, "192.0.2.1")
    };
    for n in 0..1000 {
        let who = of(&format!("n{n}"), Party::Verifier(verifier));
        assert_eq!(wrong(&throttle, who, 0), counted(None));
    }
    let alice = of("alice", Party::Verifier(verifier));
    assert!(matches!(
        settle(&throttle, alice, true, 0),
        Verdict::Pass { .. }
    ));
    // It is trusted there now, so it cannot be locked out from elsewhere.
    for n in 0..100 {
        wrong(&throttle, subject("alice", &format!("198.51.100.{n}")), 1);
    }
    assert!(matches!(
        settle(&throttle, alice, true, 1),
        Verdict::Pass { .. }
    ));
    // A client whose address the verifier gives has a limit, like any source.
    for n in 0..50 {
        let who = of(&format!("m{n}"), Party::ClientOf(verifier));
        assert!(
            matches!(wrong(&throttle, who, 2), Verdict::Counted { .. }),
            "{n}"
        );
    }
    let who = of("somebody", Party::ClientOf(verifier));
    assert!(matches!(wrong(&throttle, who, 2), Verdict::Delayed { .. }));
}

#[test]
fn client_certificates_separate_clients_at_one_address() {
    let throttle = throttle();
    let with = |subject_of: &'static str| Subject {
        source: Source {
            party: Some(Party::Certificate(subject_of)),
            ..subject("admin", "192.0.2.1").source
        },
        ..subject("admin", "192.0.2.1")
    };
    let (service, guesser) = (with("CN=service"), with("CN=guesser"));
    settle(&throttle, service, true, 0);
    for at in 0..3600 {
        wrong(&throttle, guesser, at);
        let verdict = settle(&throttle, service, true, at);
        assert!(matches!(verdict, Verdict::Pass { .. }), "{at}: {verdict:?}");
    }
}

#[test]
fn principal_that_authenticates_everywhere_evicts_nobodys_trust() {
    let throttle = Throttle::new(
        ThrottleSettings {
            capacity: 1024,
            ..ThrottleSettings::default()
        },
        [7; 16],
    );
    for n in 0..300 {
        settle(&throttle, subject(&format!("n{n}"), "192.0.2.1"), true, 0);
    }
    for n in 0..131_072_u32 {
        let source = format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff);
        settle(&throttle, subject("rover", &source), true, 1);
    }
    let mut verdicts = (0..300).map(|n| {
        let who = subject(&format!("n{n}"), "192.0.2.1");
        settle(&throttle, who, true, 2)
    });
    assert!(verdicts.all(|it| it == Verdict::Pass { is_news: false }));
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
    // About 17 minutes until the longest delay, then one in 15 minutes.
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
    // A principal that is trusted there is not delayed.
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
fn unknown_names_are_delayed_alike_and_evict_no_known_one() {
    let throttle = throttle();
    let unknown = |name: &str, source: &str| Subject {
        is_known: false,
        is_broken: false,
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
fn concurrent_guesses_are_not_evaluated_more_often() {
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
    after.merge(&records);
    assert_eq!(settle(&after, alice, true, 0), delayed(1));
    assert_eq!(
        settle(&after, home, true, 0),
        Verdict::Pass { is_news: false }
    );
}

#[test]
fn failures_that_are_counted_during_a_save_are_kept() {
    for is_trusted in [true, false] {
        let throttle = throttle();
        let alice = subject("alice", "192.0.2.1");
        let whom = match is_trusted {
            true => Throttled::TrustedSource,
            false => Throttled::Principal,
        };
        settle(&throttle, alice, is_trusted, 0);
        // The failure is forgiven by the time of the next one.
        let saved = throttle.changed(100);
        for _ in 0..5 {
            wrong(&throttle, alice, 2000);
        }
        let delayed = delayed_as(whom, 1);
        assert_eq!(settle(&throttle, alice, true, 2000), delayed);
        throttle.merge(&saved);
        assert_eq!(settle(&throttle, alice, true, 2000), delayed);
    }
}

#[test]
fn clock_set_back_prolongs_no_delay() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for at in [0, 0, 0, 0, 0, 1, 3, 7] {
        wrong(&throttle, alice, 100_000 + at);
    }
    // The delay continues from the current time.
    assert_eq!(wrong(&throttle, alice, 0), delayed(8));
    assert_eq!(
        settle(&throttle, alice, true, 8),
        Verdict::Pass { is_news: true }
    );
}

#[test]
fn unthrottling_resets_earlier_failures() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for _ in 0..5 {
        wrong(&throttle, alice, 0);
    }
    let unthrottled = Subject {
        unthrottled: UnixTime::from_secs(START + 1),
        ..alice
    };
    assert_eq!(wrong(&throttle, alice, 0), delayed(1));
    assert_eq!(
        settle(&throttle, unthrottled, true, 1),
        Verdict::Pass { is_news: true }
    );
}

#[test]
fn unthrottling_by_a_clock_that_was_ahead_does_not_disable_throttling() {
    let throttle = throttle();
    let unthrottled = Subject {
        unthrottled: UnixTime::from_secs(START + 365 * 24 * 60 * 60),
        ..subject("alice", "192.0.2.1")
    };
    for at in 0..60 {
        wrong(&throttle, unthrottled, at);
    }
    let verdict = wrong(&throttle, unthrottled, 60);
    assert!(matches!(verdict, Verdict::Delayed { .. }), "{verdict:?}");
}

#[test]
fn trust_of_a_clock_that_was_ahead_does_not_last_longer() {
    let throttle = throttle();
    let home = subject("admin", "192.0.2.1");
    settle(&throttle, home, true, 365 * 24 * 60 * 60);
    let seen = settle(&throttle, home, true, 0);
    assert_eq!(seen, Verdict::Pass { is_news: false });
    let day_after = settle(&throttle, home, true, 24 * 60 * 60);
    assert_eq!(day_after, Verdict::Pass { is_news: true });
}

#[test]
fn one_failure_is_forgiven_every_15_minutes() {
    let throttle = throttle();
    let alice = subject("alice", "192.0.2.1");
    for _ in 0..5 {
        wrong(&throttle, alice, 0);
    }
    for quarter in 1..=4 {
        let now = UnixTime::from_secs(START + quarter * 900);
        let left = throttle.failures(alice, now).elsewhere;
        assert_eq!(u64::from(left), 5 - quarter);
    }
}

#[test]
fn source_with_occasional_failures_is_never_delayed() {
    let throttle = throttle();
    for n in 0..500 {
        let who = subject(&format!("n{n}"), "192.0.2.1");
        assert_eq!(wrong(&throttle, who, n * 900), counted(None));
    }
}

#[test]
fn two_processes_evaluate_no_more_than_one() {
    let (one, other) = (throttle(), throttle());
    let mut saved: std::collections::HashMap<_, ThrottleRecord> = Default::default();
    let mut verdicts = 0;
    for at in (0..60).chain((60..24 * 60 * 60).step_by(60)) {
        for it in [&one, &other] {
            for n in 0..3 {
                let who = subject("alice", &format!("192.0.2.{n}"));
                let verdict = wrong(it, who, at);
                verdicts += u32::from(matches!(verdict, Verdict::Counted { .. }));
            }
        }
        // As the server does once a second.
        for it in [&one, &other] {
            let mut news = Vec::new();
            for record in it.changed(100) {
                let row = saved
                    .entry((record.scope.as_str(), record.tag))
                    .and_modify(|row| {
                        let paid = row.paid.as_secs().max(record.failed.as_secs());
                        row.paid = match record.added {
                            Some(added) => UnixTime::from_secs(paid.saturating_add_signed(added)),
                            None => record.paid,
                        };
                        row.failed = row.failed.max(record.failed);
                    })
                    .or_insert(record);
                news.push(*row);
            }
            one.merge(&news);
            other.merge(&news);
        }
    }
    // Each may evaluate the free allowance before it sees the failures of the other.
    assert!(verdicts <= 111 + 10, "{verdicts}");
}

/// Attempts of one kind, in succession at the same time.
#[derive(Clone, Debug)]
struct Burst {
    after: u64,
    source: u64,
    is_right: bool,
    attempts: u32,
}

fn bursts() -> impl proptest::strategy::Strategy<Value = Vec<Burst>> {
    use proptest::prelude::*;
    let after = prop_oneof![4 => 0..3_u64, 4 => 0..2_000_u64, 1 => 0..20_000_u64];
    let one = (after, 0..50_u64, any::<bool>(), 1..20_u32).prop_map(
        |(after, source, is_right, attempts)| Burst {
            after,
            source,
            is_right,
            attempts,
        },
    );
    proptest::collection::vec(one, 1..300)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(20))]

    #[test]
    fn guesses_of_any_day_are_few_however_right_and_wrong_tokens_alternate(bursts in bursts()) {
        const DAY: u64 = 24 * 60 * 60;
        let throttle = throttle();
        let mut verdicts = std::collections::VecDeque::new();
        let mut at = 0;
        for burst in bursts {
            at += burst.after;
            for _ in 0..burst.attempts {
                let who = subject("alice", &format!("192.0.2.{}", burst.source));
                if let Verdict::Counted { .. } = settle(&throttle, who, burst.is_right, at) {
                    verdicts.push_back(at);
                }
            }
            while verdicts.front().is_some_and(|&first| first + DAY <= at) {
                verdicts.pop_front();
            }
            proptest::prop_assert!(verdicts.len() <= 152, "{}", verdicts.len());
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_two_principals_or_sources_share_a_tag(
        one in crate::tricky(), other in crate::tricky(),
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
        let pair = |who, source: u32| {
            let address = std::net::IpAddr::from(source.to_be_bytes());
            let source = Source::of(Some(address));
            throttle.tags(who, source).pair
        };
        assert_eq!(pair(one, from) == pair(other, elsewhere), is_same && from == elsewhere);
        assert_eq!(pair(one, from) == pair(other, from), is_same);
    }
}
