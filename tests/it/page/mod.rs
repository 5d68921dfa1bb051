//! The admin page over HTTP.

pub(crate) mod browser;
mod chromium;
mod fresh;
mod identities;
mod routes;
mod sessions;

use std::process::Command;

use crate::harness::postgres::{is_store, sql_in};
use crate::harness::{Caller, Gate, Upstream, get, raw, stderr, stdout, until};
use browser::{ADMIN, Browser, link};

#[test]
fn token_of_an_administrator_logs_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("{ADMIN}[audit]\nfile = \"{}\"\n", log.display()));
    let admin = gate.register("root", "ungleich-admin");
    let other = gate.register("svc", "payments");
    let mut browser = Browser::of(&gate);
    assert_eq!(browser.get("/identities").status, 401);
    for (who, token) in [
        (&admin, admin.wrong_token()),
        (&other, other.token()),
        (&admin, String::new()),
    ] {
        let reply = browser.try_to_log_in(who, &token);
        assert_eq!(reply.status, 401, "{reply:?}");
        assert!(reply.body.contains("Name or token is wrong."));
        assert_eq!(browser.cookie, None);
    }
    let token = admin.token();
    assert_eq!(browser.try_to_log_in(&admin, &token).status, 303);
    assert!(browser.is_in());
    let mut thief = Browser::of(&gate);
    let reply = thief.try_to_log_in(&admin, &token);
    assert_eq!((reply.status, thief.cookie), (401, None));
    assert!(reply.body.contains("used here already"), "{}", reply.body);
    // It was denied, and nothing else is recorded about it.
    let metrics = get(gate.metrics(), "/metrics", "").body;
    let permits = |line: &&str| {
        line.starts_with("realmgate_decisions_total{")
            && line.contains("door=\"admin\"")
            && line.contains("outcome=\"permitted\"")
    };
    let permits: Vec<_> = metrics.lines().filter(permits).collect();
    assert_eq!(permits.len(), 1, "{permits:?}");
    assert!(permits[0].ends_with(" 1"), "{permits:?}");
    until("the denial is in the audit log", || {
        let lines = std::fs::read_to_string(&log).unwrap();
        lines.contains("\"reason\":\"replayed\"")
    });
}

#[test]
fn guesses_of_tokens_and_of_sessions_are_throttled() {
    let gate = Gate::start(&format!(
        "{ADMIN}[throttle]\nfailures = 2\nsource_failures = 4\ndelay = \"1h\"\nlongest_delay = \"1h\"\n"
    ));
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::of(&gate);
    let statuses: Vec<u16> = (0..4)
        .map(|_| browser.try_to_log_in(&admin, &admin.wrong_token()).status)
        .collect();
    assert_eq!(statuses, [401, 401, 429, 429]);
    let reply = browser.try_to_log_in(&admin, &admin.token());
    assert_eq!(reply.status, 429);
    assert!(reply.field("Retry-After").is_some());
    // Two failures of the source so far.
    let secret = |n: u32| format!("{n:0>42}0");
    let statuses: Vec<u16> = (0..3)
        .map(|n| {
            browser.cookie = Some(secret(n));
            browser.get("/").status
        })
        .collect();
    assert_eq!(statuses, [401, 401, 429]);
}

#[test]
fn overview_names_throttled_identities_and_counts_what_needs_attention() {
    let gate = Gate::start(&format!(
        "{ADMIN}[throttle]\nfailures = 2\nsource_failures = 100\ndelay = \"1h\"\nlongest_delay = \"1h\"\n"
    ));
    let admin = gate.register("root", "ungleich-admin");
    let name = "<b>svc</b>";
    let svc = gate.register(name, "payments");
    let invented = Caller {
        name: "<i>invented</i>".to_owned(),
        realm: "payments".to_owned(),
        seed: svc.seed.clone(),
    };
    for caller in [&svc, &invented] {
        for _ in 0..4 {
            let fields = format!(
                "X-Auth-Name: {}\r\nX-Auth-Realm: {}\r\nX-Auth-Token: {}\r\n",
                caller.name,
                caller.realm,
                caller.wrong_token()
            );
            get(gate.service, "/forward-auth", &fields);
        }
    }
    let weak =
        format!("UPDATE identity SET seed = substr(seed, 1, 60) WHERE name = '{name}' RETURNING 1");
    assert_eq!(gate.number(&weak), 1);
    let mut browser = Browser::log_in(&gate, &admin);
    let page = browser.read("/");
    let (_, throttled) = page.split_once("<h2>Throttled now</h2>").unwrap();
    assert!(
        throttled.contains("<bdi>&#60;b&#62;svc&#60;/b&#62;</bdi>"),
        "{page}"
    );
    assert!(!page.contains("invented"), "{page}");
    let (_, weak) = page
        .split_once("<a href=\"/identities?condition=weak\">")
        .unwrap();
    assert!(weak.starts_with("1<"), "{page}");
    let (_, unused) = page
        .split_once("<a href=\"/identities?condition=unused\">")
        .unwrap();
    assert!(unused.starts_with("0<"), "{page}");
    let output = gate.run(&["identity", "unthrottle", &format!("{name}@payments")]);
    assert!(output.status.success(), "{}", stderr(&output));
    until("it is no longer named", || {
        !browser.read("/").contains("<h2>Throttled now</h2>")
    });
}

#[test]
fn overview_adds_up_all_realms_and_shows_the_first_ones() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    // As many identities would have it.
    let realms = "INSERT INTO realm_count
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
        SELECT 'r' || n, 3, 1 FROM n";
    match is_store() {
        true => drop(sql_in(&gate.config(), realms)),
        false => {
            let database = gate.config().with_file_name("realmgate.db");
            let database = rusqlite::Connection::open(database).unwrap();
            assert_eq!(database.execute(realms, ()).unwrap(), 2500);
        }
    }
    let page = Browser::log_in(&gate, &admin).read("/");
    let link = |text: &str| page.contains(&format!("\">{text}</a></dd>"));
    assert!(link("7\u{202f}501") && link("2\u{202f}500"), "{page}");
    let rest = "And 2\u{202f}481 more realms with 7\u{202f}441 identities.";
    assert!(page.contains(rest), "{page}");
    assert_eq!(page.matches("/identities?realm=").count(), 20);
    assert!(page.len() < 50_000, "{}", page.len());
}

#[test]
fn denials_and_rejected_requests_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("{ADMIN}[audit]\nfile = \"{}\"\n", log.display()));
    let admin = gate.register("root", "ungleich-admin");
    let svc = gate.register("svc", "payments");
    // No route: rejected. A wrong token: denied.
    assert_eq!(get(gate.gateway, "/", &svc.fields()).status, 404);
    let wrong = svc.fields_with(&svc.wrong_token());
    assert_eq!(get(gate.service, "/forward-auth", &wrong).status, 401);
    until("both are in the audit log", || {
        let lines = std::fs::read_to_string(&log).unwrap();
        lines.contains("\"refused\"") && lines.contains("\"denied\"")
    });
    let page = Browser::log_in(&gate, &admin).read("/");
    let both = "Denied or rejected <strong class=\"num\">2</strong>";
    assert!(page.contains(both), "{page}");
    let (_, denials) = page.split_once("<h2>Last denials</h2>").unwrap();
    assert_eq!(
        denials.matches("<tr class=\"denial\">").count(),
        1,
        "{denials}"
    );
    assert!(
        denials.contains("href=\"/audit?event=refused\""),
        "{denials}"
    );
}

#[test]
fn form_of_another_origin_changes_nothing() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let port = gate.admin.unwrap().port();
    let fields = [("name", "svc"), ("realm", "payments")];
    for headers in [
        String::new(),
        "Origin: null\r\n".to_owned(),
        "Origin: http://evil.example\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        "Sec-Fetch-Site: none\r\n".to_owned(),
        format!("Origin: http://127.0.0.1:{}\r\n", port.wrapping_add(1)),
        format!("Origin: http://localhost:{port}\r\n"),
        format!(
            "Origin: {}\r\nSec-Fetch-Site: cross-site\r\n",
            browser.origin()
        ),
    ] {
        let reply = browser.post_from(&headers, "/identities/new", &fields);
        assert_eq!(reply.status, 403, "{headers}");
    }
    let mut stranger = Browser::of(&gate);
    let fields_of = [("name", "root"), ("token", &*admin.token_of(1))];
    let reply = stranger.post_from("Sec-Fetch-Site: cross-site\r\n", "/login", &fields_of);
    assert_eq!((reply.status, stranger.cookie), (403, None));
    assert_eq!(gate.number("SELECT count(*) FROM identity"), 1);
    for origin in [
        "Sec-Fetch-Site: same-origin\r\n".to_owned(),
        format!("Origin: {}\r\n", browser.origin()),
    ] {
        let fields = [("name", &*origin), ("realm", "payments")];
        let fields = [(fields[0].0, origin.trim()), fields[1]];
        let reply = browser.post_from(&origin, "/identities/new", &fields);
        assert_eq!(reply.status, 201, "{reply:?}");
    }
}

#[test]
fn every_response_forbids_frames_foreign_content_and_caching() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let page = browser.read("/");
    for path in [
        "/",
        "/login",
        "/identities",
        "/nothing",
        "/identities/x",
        "/identities/999",
    ] {
        let reply = browser.get(path);
        let policy = reply.field("Content-Security-Policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("X-Frame-Options", "DENY"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ] {
            assert_eq!(reply.field(name), Some(value), "{path}: {name}");
        }
    }
    let assets: Vec<&str> = page.split("\"/assets/").skip(1).collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let name = asset.split('"').next().unwrap();
        let reply = browser.get(&format!("/assets/{name}"));
        assert_eq!(reply.status, 200, "{name}");
        let caching = reply.field("Cache-Control").unwrap();
        assert!(caching.contains("immutable"), "{caching}");
    }
    assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onclick"));
    let links: Vec<&str> = ["href=\"", "src=\"", "action=\"", "srcset=\"", "data=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .collect();
    assert!(links.len() > 10, "{page}");
    for link in links {
        let own = link.starts_with('/') && !link.starts_with("//") || link.starts_with('#');
        assert!(own, "{}", link.split('"').next().unwrap());
    }
}

#[test]
fn page_is_served_under_its_own_hosts_only() {
    let gate = Gate::start(ADMIN);
    let address = gate.admin.unwrap();
    let status = |host: &str| {
        let request = format!("GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(address, request.as_bytes()).status
    };
    let port = address.port();
    assert_eq!(status(&address.to_string()), 200);
    assert_eq!(status(&format!("localhost:{port}")), 200);
    for host in ["evil.example", "127.0.0.1", &format!("evil.example:{port}")] {
        assert_eq!(status(host), 421, "{host}");
    }
    let request = b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let page = raw(address, request).body;
    assert!(page.contains("admin.origin"), "{page}");
    // It would lead to the same page.
    assert!(!page.contains("Back to the overview"), "{page}");
    let request = format!(
        "GET http://evil.example/login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    assert_ne!(raw(address, request.as_bytes()).status, 200);
}

#[test]
fn page_is_at_no_other_listener_and_its_cookie_reaches_no_upstream() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "{ADMIN}[[route]]\nname = \"all\"\nallow = \"anyone\"\nupstream = \"app\"\n\
         [upstream.app]\npeers = [\"{}\"]\n",
        upstream.address
    ));
    let admin = gate.register("root", "ungleich-admin");
    let browser = Browser::log_in(&gate, &admin);
    let secret = browser.cookie.unwrap();
    let cookie = format!("Cookie: a=1; rg={secret}; __Host-rg={secret}; b=2\r\n");
    let reply = get(gate.gateway, "/login", &cookie);
    assert_eq!(reply.status, 200);
    let seen = upstream.seen();
    let seen = seen.last().unwrap();
    assert!(!seen.contains(&secret), "{seen}");
    assert!(seen.to_lowercase().contains("cookie: a=1; b=2"), "{seen}");
    for address in [gate.service, gate.metrics()] {
        let reply = get(address, "/login", &cookie);
        assert_eq!(reply.status, 404);
        assert!(!reply.body.contains("<form"));
    }
}

#[test]
fn link_of_the_command_line_logs_in_once() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    gate.register("svc", "payments");
    let ready = gate.config().with_file_name("ready.json");
    let ready = ready.to_str().unwrap();
    let of = |who: &str| gate.run(&["admin", "link", who, "--ready-file", ready]);
    // The system has chosen the port, so the configuration does not name it.
    let output = gate.run(&["admin", "link", "root@ungleich-admin"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = of("root@ungleich-admin");
    assert!(output.status.success(), "{}", stderr(&output));
    let printed: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let link = printed["link"].as_str().unwrap();
    let origin = format!("http://{}/link?", gate.admin.unwrap());
    assert!(link.starts_with(&origin), "{link}");
    let secret = link.split_once("/link?secret=").unwrap().1;
    let mut browser = Browser::of(&gate);
    let page = browser.read(&format!("/link?secret={secret}"));
    // A program that looks at the link does not use it up.
    assert!(page.contains(&format!("value=\"{secret}\"")), "{page}");
    assert_eq!(browser.cookie, None);
    // A link is no session.
    browser.cookie = Some(secret.to_owned());
    assert!(!browser.is_in());
    browser.cookie = None;
    assert_eq!(browser.post("/link", &[("secret", secret)]).status, 303);
    assert!(browser.is_in());
    let mut thief = Browser::of(&gate);
    let reply = thief.post("/link", &[("secret", secret)]);
    assert_eq!((reply.status, thief.cookie), (410, None));
    assert!(!gate.log().contains(secret), "the log has the secret");

    let output = of("svc@payments");
    assert_eq!(output.status.code(), Some(2));
    let output = gate.run(&[
        "identity",
        "disable",
        &format!("{}@{}", admin.name, admin.realm),
    ]);
    assert!(output.status.success());
    let output = of("root@ungleich-admin");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn admin_page_off_loopback_needs_tls() {
    let check = |admin: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("realmgate.toml");
        std::fs::write(&config, admin).unwrap();
        let mut command = crate::harness::realmgate(&["check", "--config"]);
        let output = Command::output(command.arg(&config)).unwrap();
        (output.status.success(), stderr(&output))
    };
    for (admin, is_right) in [
        ("[admin]\nlisten = \"127.0.0.1:8083\"\n", true),
        ("[admin]\nlisten = \"off\"\n", true),
        ("[admin]\nlisten = \"0.0.0.0:8083\"\n", false),
        (
            "[admin]\nlisten = \"0.0.0.0:8083\"\norigin = \"http://admin.example.org\"\n",
            false,
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:8083\"\norigin = \"https://admin.example.org\"\n",
            true,
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8083\"\norigin = \"https://admin.example.org/\"\n",
            false,
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8083\"\norigin = \"https://admin.example.org:443\"\n",
            false,
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8083\"\norigin = \"admin.example.org\"\n",
            false,
        ),
        ("[admin]\nlisten = \"127.0.0.1:8081\"\n", false),
    ] {
        let (succeeds, error) = check(admin);
        assert_eq!(succeeds, is_right, "{admin}: {error}");
    }
}

#[test]
fn audit_log_is_paged_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("{ADMIN}[audit]\nfile = \"{}\"\n", log.display()));
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let create = |browser: &mut Browser<'_>, names: &[String]| {
        let names = names.join("\n");
        let fields = [("realm", "payments"), ("list", &*names)];
        let reply = browser.post("/identities/bulk", &fields);
        assert!(reply.body.contains(" created"), "{}", reply.body);
    };
    let names: Vec<_> = (0..120).map(|n| format!("svc-{n:03}")).collect();
    create(&mut browser, &names);
    // The lines of a page: the names that they are about.
    let lines = |page: &str| -> Vec<String> {
        let lines = page.split("<td class=\"word\">").skip(1);
        let name = |line: &str| {
            let (_, name) = line.split_once("<bdi>").unwrap();
            name.split('<').next().unwrap().to_owned()
        };
        lines.map(name).collect()
    };
    let of = |range: std::ops::Range<usize>| -> Vec<String> {
        names.get(range).unwrap().iter().rev().cloned().collect()
    };
    let mut page = browser.read("/audit?event=identity_created&principal=&until=2100-01-01");
    assert_eq!(lines(&page), of(70..120));
    // The newest lines have no newer ones.
    assert_eq!(link(&page, "prev"), None);
    assert!(!page.contains("Newest lines"), "{page}");
    for expected in [of(20..70), [of(0..20), vec!["root".to_owned()]].concat()] {
        page = browser.read(&link(&page, "next").unwrap());
        assert_eq!(lines(&page), expected);
        assert!(page.contains(">Newer lines</a>"), "{page}");
    }
    assert_eq!(link(&page, "next"), None);
    // Back again, with the same filter, while new lines come.
    create(&mut browser, &["later".to_owned()]);
    page = browser.read(&link(&page, "prev").unwrap());
    assert_eq!(lines(&page), of(20..70));
    let newest = link(&page, "prev").unwrap();
    for kept in ["event=identity_created", "until=2100-01-01"] {
        assert!(newest.contains(kept), "{newest}");
    }
    page = browser.read(&newest);
    let later = vec!["later".to_owned()];
    assert_eq!(lines(&page), [later, of(71..120)].concat());
    assert_eq!(link(&page, "prev"), None);
}

#[test]
fn audit_log_is_filtered_by_events_and_reasons_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("{ADMIN}[audit]\nfile = \"{}\"\n", log.display()));
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let rows = |page: &str| page.matches("<td class=\"word\">").count();
    let page = browser.read("/audit?event=session_started&reason=log_in");
    assert_eq!(rows(&page), 1, "{page}");
    for chosen in [
        "<option value=\"session_started\" selected>session started</option>",
        "<option selected>log_in</option>",
        "<option>wrong_token</option>",
        "The log of the node <bdi>",
    ] {
        assert!(page.contains(chosen), "{chosen}: {page}");
    }
    let started = browser.read("/audit?event=serve_started");
    assert!(
        started.contains("<td class=\"word\">server started</td>"),
        "{started}"
    );
    for (query, field) in [
        ("event=identity_delete", "event"),
        ("reason=wrong", "reason"),
    ] {
        let reply = browser.get(&format!("/audit?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        let wrong = format!("id=\"{field}-wrong\">no such {field}: choose one<");
        assert!(reply.body.contains(&wrong), "{}", reply.body);
        assert!(!reply.body.contains("No line matches"), "{}", reply.body);
        assert_eq!(rows(&reply.body), 0);
    }
}
