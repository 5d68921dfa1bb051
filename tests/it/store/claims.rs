//! Claims, by which the nodes on one PostgreSQL server share the budget of guesses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use realmgate::auth::{Claim, ClaimOutcome, Counters, Scope};
use realmgate::config::Config;
use realmgate::server::store_options;
use realmgate::store::{self, Cached, Intent};

use super::cluster::on;
use crate::harness::postgres::{Postgres, sql_in};
use crate::harness::{Caller, Gate, Reply, get, routes, until};
use crate::operation::clock::Clock;

fn claim(tag: u8, lasts: Duration) -> Claim {
    Claim {
        scope: Scope::Unknown,
        tag: [tag; 16],
        lasts,
    }
}

/// Returns the number of the claim, or for how long nobody gets it.
async fn try_claim(node: &Cached, claim: Claim) -> Result<i64, Duration> {
    match node.claim(claim).await.unwrap() {
        ClaimOutcome::Granted(number) => Ok(number),
        ClaimOutcome::Denied(left) => Err(left),
    }
}

/// Waits until the claim before has ended by itself.
async fn until_granted(node: &Cached, claim: Claim) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match try_claim(node, claim).await {
            Ok(number) => return number,
            Err(_) => assert!(Instant::now() < deadline),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn one_of_many_nodes_gets_a_claim_until_the_delay_is_over_or_it_is_given_back() {
    let gate = Gate::start_on_postgres("");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let config = Config::load(Some(&gate.config()), []).unwrap();
            let options = store_options(&config.store).unwrap();
            nodes.push(store::open(options, Intent::Change).await.unwrap());
        }
        assert!(nodes.iter().all(|node| node.has_claims()));
        let hour = Duration::from_secs(3600);
        let began = Instant::now();
        let claims = (0..30).map(|at| {
            let node = Arc::clone(&nodes[at % nodes.len()]);
            tokio::spawn(async move { try_claim(&node, claim(1, hour)).await })
        });
        let mut outcomes = Vec::new();
        for claim in claims.collect::<Vec<_>>() {
            outcomes.push(claim.await.unwrap());
        }
        // A claim that nobody ends is open for two seconds.
        let most = 1 + began.elapsed().as_secs() / 2;
        let got = outcomes.iter().filter(|it| it.is_ok()).count() as u64;
        assert!((1..=most).contains(&got), "{got} of {most}: {outcomes:?}");
        let pools = nodes.iter().map(|node| node.metrics().pool.unwrap());
        let counts = pools.fold((0, 0), |(granted, denied), pool| {
            (granted + pool.claims, denied + pool.claims_denied)
        });
        assert_eq!(counts, (got, 30 - got));
        let [one, other, _] = &nodes[..] else {
            panic!()
        };
        // After a guess, there is none until the delay is over.
        let number = outcomes.iter().flatten().max().unwrap();
        one.end(claim(1, hour), *number, true).await.unwrap();
        let left = try_claim(other, claim(1, hour)).await.unwrap_err();
        assert!(
            left > hour - Duration::from_secs(300) && left <= hour,
            "{left:?}"
        );
        // Another principal has its own.
        let number = try_claim(other, claim(2, hour)).await.unwrap();
        // A right token gives it back.
        other.end(claim(2, hour), number, false).await.unwrap();
        let late = try_claim(other, claim(2, hour)).await.unwrap();
        // A process that was too slow ends neither the claim of the next one, nor its delay.
        let next = until_granted(one, claim(2, hour)).await;
        other.end(claim(2, hour), late, false).await.unwrap();
        one.end(claim(2, hour), next, true).await.unwrap();
        other.end(claim(2, hour), late, false).await.unwrap();
        let second = claim(2, Duration::from_secs(1));
        other.end(second, late, true).await.unwrap();
        let left = try_claim(other, claim(2, hour)).await.unwrap_err();
        assert!(left > hour - Duration::from_secs(300), "{left:?}");
        // It ends by the clock of the server.
        let second = claim(3, Duration::from_secs(1));
        let number = try_claim(one, second).await.unwrap();
        one.end(second, number, true).await.unwrap();
        until_granted(other, claim(3, hour)).await;
        // A clock that was ahead closes nothing for long.
        let later = "UPDATE claim SET until = until + 400 * 86400000::bigint RETURNING 1";
        sql_in(&gate.config(), later);
        try_claim(one, claim(3, hour)).await.unwrap();
    });
}

/// Returns a response without the parts that differ from one to the next.
fn shape(reply: &Reply) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((name, _))
            if ["date", "retry-after", "x-request-id"].contains(&&*name.to_lowercase()) =>
        {
            name.to_lowercase()
        }
        _ => line.to_owned(),
    };
    let head: Vec<_> = reply.head.lines().map(line).collect();
    format!("{}\n{}", head.join("\n"), reply.body)
}

#[test]
fn invented_names_look_like_known_ones_through_every_node() {
    const THROTTLE: &str = "[throttle]\nfailures = 1\nsource_failures = 1000000\n";
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let more = format!("{THROTTLE}{}", routes(nowhere));
    let one = Gate::start_on_postgres(&more);
    let other = one.start_beside(&more);
    let known = one.register("known", "payments");
    let invented = Caller {
        name: "never".to_owned(),
        ..known.clone()
    };
    let wrong = |gate: &Gate, who: &Caller| {
        shape(&get(
            gate.gateway,
            "/x",
            &who.fields_with(&known.wrong_token()),
        ))
    };
    let collect = |gate: &Gate, who: &Caller, expected: &[&str]| {
        let mut seen = BTreeSet::new();
        until("all responses", || {
            seen.insert(wrong(gate, who));
            expected
                .iter()
                .all(|status| seen.iter().any(|it| it.contains(status)))
        });
        seen
    };
    for (gate, statement, expected) in [
        (&one, None, &["HTTP/1.1 401", "HTTP/1.1 429"][..]),
        // Without its claim, no attempt is evaluated.
        (
            &one,
            Some("ALTER TABLE claim RENAME TO gone"),
            &["HTTP/1.1 429", "HTTP/1.1 503"],
        ),
        (&other, None, &["HTTP/1.1 503"]),
        (
            &other,
            Some("ALTER TABLE gone RENAME TO claim"),
            &["HTTP/1.1 401", "HTTP/1.1 429"],
        ),
    ] {
        if let Some(statement) = statement {
            sql_in(&one.config(), statement);
        }
        let of_known = collect(gate, &known, expected);
        let of_invented = collect(gate, &invented, expected);
        let status = |all: &BTreeSet<String>, status: &str| {
            all.iter()
                .filter(|it| it.contains(status))
                .cloned()
                .collect::<Vec<_>>()
        };
        for it in expected {
            assert_eq!(status(&of_known, it), status(&of_invented, it));
            assert_eq!(status(&of_known, it).len(), 1, "{of_known:?}");
        }
    }
}

#[test]
fn burst_at_three_nodes_gets_their_free_evaluations_and_at_most_one_more() {
    const NODES: usize = 3;
    const BURST: Duration = Duration::from_millis(1500);
    let more = format!(
        "[throttle]\nsource_failures = 1000000\ndelay = \"1m\"\n{}",
        routes("127.0.0.1:9".parse().unwrap())
    );
    let one = Gate::start_on_postgres(&more);
    let others = [one.start_beside(&more), one.start_beside(&more)];
    let caller = one.register("svc", "payments");
    let fields = caller.fields_with(&caller.wrong_token());
    let nodes = [one.gateway, others[0].gateway, others[1].gateway];
    let began = Instant::now();
    let verdicts: usize = thread::scope(|scope| {
        let guesses: Vec<_> = (0..4)
            .flat_map(|_| nodes)
            .map(|node| {
                let fields = &fields;
                scope.spawn(move || {
                    let mut verdicts = 0;
                    while began.elapsed() < BURST {
                        verdicts += usize::from(get(node, "/x", fields).status == 401);
                    }
                    verdicts
                })
            })
            .collect();
        guesses.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert!((5..=5 * NODES + 1).contains(&verdicts), "{verdicts}");
}

#[test]
fn node_with_a_wrong_clock_adds_no_guesses() {
    const NODES: usize = 2;
    for offset in ["-1h", "+8h"] {
        let more = format!(
            "[throttle]\nsource_failures = 1000000\n{}",
            routes("127.0.0.1:9".parse().unwrap())
        );
        let one = Gate::start_on_postgres(&more);
        let clock = Clock::new();
        clock.set(offset);
        let variables = clock.environment();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.to_str().unwrap()))
            .collect();
        let other = one.start_beside_with(&variables, &more);
        until("the difference is known", || {
            other.log().contains("the clock of the database differs")
        });
        let caller = one.register("svc", "payments");
        let fields = caller.fields_with(&caller.wrong_token());
        let began = Instant::now();
        let mut verdicts = 0;
        while began.elapsed() < Duration::from_secs(12) {
            for node in [one.gateway, other.gateway] {
                verdicts += usize::from(get(node, "/x", &fields).status == 401);
            }
        }
        // The free ones of each node, and the end of the first delays.
        assert!(
            (5..=5 * NODES + 4).contains(&verdicts),
            "{offset}: {verdicts}"
        );
    }
}

#[test]
fn node_whose_clock_jumps_every_second_adds_no_guesses() {
    let more = format!(
        "[throttle]\nsource_failures = 1000000\n{}",
        routes("127.0.0.1:9".parse().unwrap())
    );
    for is_file in [true, false] {
        let clock = Clock::new();
        let variables = clock.environment();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.to_str().unwrap()))
            .collect();
        let (beside, gate) = match is_file {
            true => (None, Gate::start_with(&variables, &more)),
            false => {
                let beside = Gate::start_on_postgres(&more);
                let gate = beside.start_beside_with(&variables, &more);
                (Some(beside), gate)
            }
        };
        let first = beside.as_ref().unwrap_or(&gate);
        let caller = first.register("svc", "payments");
        let fields = caller.fields_with(&caller.wrong_token());
        let began = Instant::now();
        let (mut verdicts, mut second) = (0, 0);
        while began.elapsed() < Duration::from_secs(12) {
            let now = began.elapsed().as_secs();
            if now > second {
                second = now;
                let sign = if second % 3 == 0 { '-' } else { '+' };
                clock.set(&format!("{sign}{}h", 5 * second));
            }
            verdicts += usize::from(get(gate.gateway, "/x", &fields).status == 401);
        }
        // The free ones, and the end of the first delays.
        assert!((5..=5 + 4).contains(&verdicts), "{is_file}: {verdicts}");
    }
}

#[test]
fn outage_does_not_tell_existing_names_from_invented_ones() {
    const THROTTLE: &str = "[throttle]\nfailures = 1\nsource_failures = 1000000\n";
    let server = Postgres::start();
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let gate = Gate::start_on(
        &on(server.address()),
        &format!("{THROTTLE}{}", routes(nowhere)),
    );
    let known = gate.register("known", "payments");
    let invented = Caller {
        name: "never".to_owned(),
        ..known.clone()
    };
    let both = [&known, &invented];
    let status = |who: &Caller| {
        let fields = who.fields_with(&known.wrong_token());
        get(gate.gateway, "/x", &fields).status
    };
    for who in both {
        until("delayed", || status(who) == 429);
    }
    server.kill();
    until("the server is dead", || !server.answers());
    let of_both = both.map(|who| {
        let mut seen = BTreeSet::new();
        until("the outage, and the delay that it begins", || {
            seen.insert(status(who));
            seen.contains(&503) && seen.contains(&429)
        });
        seen
    });
    assert_eq!(of_both[0], of_both[1]);
}
