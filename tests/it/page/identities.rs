//! What an administrator does with identities.

use super::browser::{ADMIN, Browser, link, value};
use crate::harness::{Caller, Gate, get, stderr, until};

fn passes(gate: &Gate, caller: &Caller) -> bool {
    get(gate.service, "/forward-auth", &caller.fields()).status == 200
}

/// Returns the caller whose seed a page shows.
fn caller(page: &str, name: &str, realm: &str) -> Caller {
    Caller {
        name: name.to_owned(),
        realm: realm.to_owned(),
        seed: value(page, "seed"),
    }
}

#[test]
fn identity_lives_from_its_creation_to_its_deletion() {
    let gate = Gate::start(ADMIN);
    let node = gate.start_beside("");
    let admin = gate.register("root", "ungleich-admin");
    let second = gate.register("second", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let fields = [
        ("name", "svc"),
        ("realm", "payments"),
        ("comment", "nightly"),
    ];
    let reply = browser.post("/identities/new", &fields);
    assert_eq!(reply.status, 201, "{reply:?}");
    let svc = caller(&reply.body, "svc", "payments");
    assert!(value(&reply.body, "otpauth").contains(&svc.seed));
    assert!(reply.body.contains("<svg class=\"qr\""));
    assert!(passes(&gate, &svc) && passes(&node, &svc));
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let page = browser.read(&path);
    assert!(!page.contains(&svc.seed), "the seed is shown again");
    assert_eq!(value(&page, "comment"), "nightly");
    // Again: the name is taken, which the form says beside the name.
    let reply = browser.post("/identities/new", &fields);
    assert_eq!(reply.status, 422);
    assert!(reply.body.contains("id=\"name-wrong\""), "{}", reply.body);

    let done = browser.post(&format!("{path}/disable"), &[]);
    assert_eq!(done.status, 303);
    until("no node accepts it", || {
        !passes(&gate, &svc) && !passes(&node, &svc)
    });
    let third = gate.register("third", "ungleich-admin");
    let mut another = Browser::log_in(&gate, &third);
    let token = third.token_of(1);
    let version = another.version(&path);
    let fields = [("token", &*token), ("version", &version)];
    let enabled = another.post(&format!("{path}/enable"), &fields);
    assert_eq!(enabled.status, 303, "{enabled:?}");
    until("both nodes accept it", || {
        passes(&gate, &svc) && passes(&node, &svc)
    });

    let rotate = format!("{path}/rotate");
    let wrong = admin.wrong_token();
    let version = browser.version(&path);
    let fields = [("grace", "3600"), ("version", &*version)];
    let with = |token| [&fields[..], &[("token", token)]].concat();
    let reply = browser.post(&rotate, &with(&wrong));
    assert_eq!(reply.status, 422);
    assert!(reply.body.contains("id=\"token-wrong\""), "{}", reply.body);
    assert!(passes(&gate, &svc));
    let token = admin.token_of(1);
    let reply = browser.post(&rotate, &with(&token));
    assert_eq!(reply.status, 200, "{reply:?}");
    let rotated = caller(&reply.body, "svc", "payments");
    assert_ne!(rotated.seed, svc.seed);
    assert!(passes(&gate, &rotated) && passes(&gate, &svc));

    let delete = format!("{path}/delete");
    let version = browser.version(&path);
    let fields = [("version", &*version), ("token", &token)];
    let reply = browser.post(&delete, &fields);
    assert_eq!(reply.status, 422, "a token counts once");
    assert!(passes(&gate, &rotated));
    let mut browser = Browser::log_in(&gate, &second);
    let token = second.token_of(1);
    let fields = [("version", &*version), ("token", &token)];
    let reply = browser.post(&delete, &fields);
    assert_eq!(reply.field("Location"), Some("/identities?done=deleted"));
    until("no node knows it", || {
        !passes(&gate, &rotated) && !passes(&node, &rotated)
    });
    assert_eq!(browser.get(&path).status, 404);
}

#[test]
fn session_alone_neither_adds_an_administrator_nor_clears_failures() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let svc = gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let (unthrottle, enable) = (format!("{path}/unthrottle"), format!("{path}/enable"));
    let number = gate.number("SELECT id FROM identity WHERE name = 'root'");
    let own = format!("/identities/{number}");
    let disable_own = format!("{own}/disable");
    let list = "evil,ungleich-admin\nother,payments";
    let (version, of_own) = (browser.version(&path), browser.version(&own));
    let (version, of_own) = (("version", &*version), ("version", &*of_own));
    for (path, fields) in [
        (
            "/identities/new",
            vec![("name", "evil"), ("realm", "ungleich-admin")],
        ),
        (
            "/identities/new",
            vec![("name", "evil"), ("realm", " ungleich-auth ")],
        ),
        (
            "/identities/bulk",
            vec![("realm", "payments"), ("list", list)],
        ),
        (
            &path,
            vec![("name", "svc"), ("realm", "ungleich-admin"), version],
        ),
        (
            &path,
            vec![("name", "svc2"), ("realm", "payments"), version],
        ),
        (&own, vec![("name", "root"), ("realm", "payments"), of_own]),
        (
            &own,
            vec![("name", "root"), ("realm", "ungleich-admin"), of_own],
        ),
        (&disable_own, vec![of_own]),
        (&unthrottle, vec![version]),
        (&enable, vec![version]),
    ] {
        let reply = browser.post(path, &fields);
        assert_eq!(reply.status, 422, "{path} {fields:?}: {reply:?}");
        assert!(
            reply.body.contains("id=\"token-wrong\""),
            "{path}: {}",
            reply.body
        );
    }
    assert_eq!(gate.number("SELECT count(*) FROM identity"), 2);
    assert!(passes(&gate, &svc));
    browser.read(&unthrottle);
}

#[test]
fn fresh_token_adds_an_administrator() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let token = admin.token_of(1);
    let fields = [
        ("name", "second"),
        ("realm", "ungleich-admin"),
        ("token", &token),
    ];
    let reply = browser.post("/identities/new", &fields);
    assert_eq!(reply.status, 201, "{reply:?}");
}

#[test]
fn change_that_another_has_overtaken_is_rejected() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let version = browser.version(&path);
    let mut send = |fields: &[(&str, &str)]| {
        let terms = [
            ("realm", "payments"),
            ("expires", "2100-01-01T00:00"),
            ("version", &version),
        ];
        browser.post(&path, &[&terms, fields].concat())
    };
    let reply = send(&[("name", "svc"), ("comment", "one")]);
    assert_eq!(reply.status, 303, "{reply:?}");
    let reply = send(&[("name", "svc"), ("comment", "two")]);
    assert_eq!(reply.status, 422);
    assert!(reply.body.contains("has changed since"), "{}", reply.body);
    let changed = "SELECT count(*) FROM identity WHERE comment = 'one' AND expires = 4102444800";
    assert_eq!(gate.number(changed), 1);
    let version = browser.version(&path);
    let token = admin.token_of(1);
    let fields = [
        ("name", "svc-2"),
        ("realm", "payments"),
        ("version", &*version),
        ("token", &*token),
    ];
    let reply = browser.post(&path, &fields);
    assert_eq!(reply.status, 303, "{reply:?}");
    let renamed = "SELECT count(*) FROM identity WHERE name = 'svc-2'";
    assert_eq!(gate.number(renamed), 1);
}

/// Returns the fields of the form on the page of an identity, as a browser sends them.
fn form(page: &str) -> Vec<(String, String)> {
    let (_, form) = page.split_once("<h2>Change</h2>").unwrap();
    let inputs = form.split("<input ").skip(1);
    let attribute = |tag: &str, name: &str| {
        let (_, value) = tag.split_once(&format!("{name}=\""))?;
        Some(value.split('"').next().unwrap().replace("&#34;", "\""))
    };
    let fields = inputs.filter_map(|it| {
        let tag = it.split('>').next().unwrap();
        let value = attribute(tag, " value").unwrap_or_default();
        Some((attribute(tag, "name")?, value))
    });
    fields.collect()
}

#[test]
fn form_saved_again_undoes_no_change_of_another_administrator() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let mut typed = form(&browser.read(&path));
    let set = |fields: &mut Vec<(String, String)>, name: &str, value: &str| {
        let field = fields.iter_mut().find(|(field, _)| field == name).unwrap();
        field.1 = value.to_owned();
    };
    let send = |browser: &mut Browser<'_>, fields: &[(String, String)]| {
        let fields: Vec<_> = fields.iter().map(|(key, it)| (&**key, &**it)).collect();
        browser.post(&path, &fields)
    };
    // Another administrator sets the expiry and the comment meanwhile.
    let output = gate.run(&[
        "identity",
        "set",
        "svc@payments",
        "--expires",
        "2100-01-01T00:00:00Z",
        "--comment",
        "theirs",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Also with an error in another field.
    for wrong in ["soon", ""] {
        set(&mut typed, "comment", "mine");
        set(&mut typed, "not_before", wrong);
        let reply = send(&mut browser, &typed);
        assert_eq!(reply.status, 422, "{reply:?}");
        let page = reply.body;
        assert!(page.contains("has changed since"), "{page}");
        assert!(page.contains("Expires: was empty, is now"), "{page}");
        let kept = "Comment: was empty, is now <q><bdi>theirs</bdi></q>. \
                    <strong>Saving replaces this with your value.</strong>";
        assert!(page.contains(kept), "{page}");
        assert_eq!(value(&page, "comment"), "mine");
        assert_eq!(value(&page, "expires"), "2100-01-01T00:00");
        let unchanged = "SELECT count(*) FROM identity WHERE comment = 'theirs'";
        assert_eq!(gate.number(unchanged), 1);
        if wrong.is_empty() {
            typed = form(&page);
        }
    }
    assert_eq!(send(&mut browser, &typed).status, 303);
    let saved = "SELECT count(*) FROM identity WHERE comment = 'mine' AND expires = 4102444800";
    assert_eq!(gate.number(saved), 1);
}

#[test]
fn form_without_the_version_of_its_identity_changes_nothing() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let svc = gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let token = admin.token_of(1);
    let right = browser.version(&path);
    let list = format!("\"999\", {right}");
    let fields = [
        ("name", "svc"),
        ("realm", "payments"),
        ("comment", "changed"),
        ("grace", "0"),
        ("token", &*token),
    ];
    for what in ["", "/rotate", "/delete", "/enable", "/unthrottle"] {
        let path = format!("{path}{what}");
        let reply = browser.post(&path, &fields);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        for version in ["", "*", "1", "\"\"", &list] {
            let fields = [&fields[..], &[("version", version)]].concat();
            let reply = browser.post(&path, &fields);
            assert_eq!(reply.status, 400, "{path} {version}: {reply:?}");
        }
    }
    assert!(passes(&gate, &svc));
    let changed = "SELECT count(*) FROM identity WHERE comment = 'changed'";
    assert_eq!(gate.number(changed), 0);
    // None of them has used the token.
    let fields = [&fields[..], &[("version", &*right)]].concat();
    let reply = browser.post(&format!("{path}/delete"), &fields);
    assert_eq!(reply.status, 303, "{reply:?}");
}

#[test]
fn names_and_comments_are_shown_as_text() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'><svg/onload=alert(1)>",
        "</title><script>alert(1)</script>",
        "</textarea><script>alert(1)</script>",
        "javascript:alert(1)",
        "{{7*7}}",
    ];
    for text in hostile {
        let fields = [("name", text), ("realm", text), ("comment", text)];
        let reply = browser.post("/identities/new", &fields);
        assert_eq!(reply.status, 201, "{text}: {reply:?}");
        assert_inert(&reply.body);
        let list = format!("{text}\n");
        let reply = browser.post("/identities/bulk", &[("realm", text), ("list", &list)]);
        assert_eq!(reply.status, 200);
        assert_inert(&reply.body);
        let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for path in ["/identities?name=", "/audit?principal=", "/routes?url="] {
            assert_inert(&browser.get(&format!("{path}{query}")).body);
        }
    }
    for path in ["/", "/identities", "/sessions", "/audit"] {
        assert_inert(&browser.read(path));
    }
    let ids = gate.number("SELECT max(id) FROM identity");
    for id in 1..=ids {
        for what in ["", "/rotate", "/delete"] {
            assert_inert(&browser.read(&format!("/identities/{id}{what}")));
        }
    }
}

/// Asserts that a page has the elements of its template only.
fn assert_inert(page: &str) {
    let scripts = page.matches("<script").count();
    assert_eq!(scripts, 1, "{page}");
    for tag in ["<img", "<svg/", "onerror=alert(1)>", "onload=alert(1)>"] {
        assert!(!page.contains(tag), "{tag}: {page}");
    }
}

#[test]
fn list_is_filtered_and_paged() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let names: String = (0..120).map(|n| format!("svc-{n:03}\n")).collect();
    let reply = browser.post(
        "/identities/bulk",
        &[("realm", "payments"), ("list", &names)],
    );
    assert!(reply.body.contains("120 created"), "{}", reply.body);
    let csv = value(&reply.body, "csv");
    assert_eq!(csv.lines().count(), 121);
    let rows = |page: &str| {
        page.matches("<td class=\"name\"><a href=\"/identities/")
            .count()
    };
    let mut page = browser.read("/identities?realm=payments");
    let mut counts = vec![rows(&page)];
    while let Some(path) = link(&page, "next") {
        page = browser.read(&path);
        counts.push(rows(&page));
    }
    assert_eq!(counts, [50, 50, 20]);
    // Back again. A row that was deleted meanwhile makes no other one disappear.
    let deleted = "DELETE FROM identity WHERE name = 'svc-010' RETURNING 1";
    assert_eq!(gate.number(deleted), 1);
    let mut firsts = Vec::new();
    while let Some(path) = link(&page, "prev") {
        page = browser.read(&path);
        assert_eq!(rows(&page), 50, "{path}");
        let (_, name) = page.split_once("<td class=\"name\"><a").unwrap();
        let (_, name) = name.split_once("<bdi>").unwrap();
        firsts.push(name.split('<').next().unwrap().to_owned());
    }
    assert_eq!(firsts, ["svc-050", "svc-000"]);
    assert!(page.contains("svc-050"), "{page}");
    assert_eq!(rows(&browser.read("/identities?name=svc-11")), 10);
    assert_eq!(rows(&browser.read("/identities?state=disabled")), 0);
    assert!(
        browser
            .read("/identities?name=nobody")
            .contains("No identity matches.")
    );
}

#[test]
fn list_is_sorted_and_shows_what_needs_attention() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    for (name, realm, expires) in [
        ("b", "x", "2100-01-01"),
        ("a", "y", ""),
        ("c", "x", "2090-01-01"),
    ] {
        let fields = [("name", name), ("realm", realm), ("expires", expires)];
        assert_eq!(browser.post("/identities/new", &fields).status, 201);
    }
    let names = |page: &str| -> String {
        let rows = page
            .split("<td class=\"name\"><a href=\"/identities/")
            .skip(1);
        let name = |row: &str| {
            row.split("<bdi>")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
                .to_owned()
        };
        rows.map(name).collect::<Vec<_>>().join(" ")
    };
    for (sort, expected) in [
        ("", "root b a c"),
        ("-id", "c a b root"),
        ("name", "a b c root"),
        ("-name", "root c b a"),
        ("realm", "root b c a"),
        ("expires", "c b root a"),
    ] {
        let page = browser.read(&format!("/identities?sort={sort}"));
        assert_eq!(names(&page), expected, "{sort}");
    }
    for (field, query) in [
        ("sort", "sort=nonsense"),
        ("state", "state=nonsense&sort=name"),
        ("condition", "condition=nonsense"),
    ] {
        let reply = browser.get(&format!("/identities?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(
            reply.body.contains(&format!("id=\"{field}-wrong\"")),
            "{}",
            reply.body
        );
        assert!(
            reply.body.contains("Correct the marked fields."),
            "{}",
            reply.body
        );
        assert_eq!(names(&reply.body), "", "{query}");
    }
    let page = browser.read("/identities?sort=name&realm=x");
    assert!(page.contains("aria-sort=\"ascending\""), "{page}");
    let (_, link) = page
        .split_once("<a class=\"sort ascending\" href=\"")
        .unwrap();
    let link = link.split('"').next().unwrap().replace("&#38;", "&");
    assert_eq!(names(&browser.read(&link)), "c b");
    let weak = "UPDATE identity SET seed = substr(seed, 1, 60) WHERE name = 'b' RETURNING 1";
    assert_eq!(gate.number(weak), 1);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let soon = now + 86_400;
    let expiring = format!("UPDATE identity SET expires = {soon} WHERE name = 'a' RETURNING 1");
    assert_eq!(gate.number(&expiring), 1);
    let unused = "UPDATE identity_use SET day = 100 WHERE identity =
        (SELECT id FROM identity WHERE name = 'c') RETURNING 1";
    assert_eq!(gate.number(unused), 1);
    let off = "UPDATE identity_use SET drift = -1 WHERE identity =
        (SELECT id FROM identity WHERE name = 'c') RETURNING 1";
    assert_eq!(gate.number(off), 1);
    for (condition, expected) in [
        ("weak", "b"),
        ("expiring", "a"),
        ("unused", "c"),
        ("clock-off", "c"),
    ] {
        let page = browser.read(&format!("/identities?condition={condition}&sort=-name"));
        assert_eq!(names(&page), expected, "{condition}");
    }
}

#[test]
fn clock_of_an_identity_is_shown_once_it_was_used() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let svc = gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let clock = |page: &str| {
        let (_, clock) = page.split_once("<th scope=\"row\">Clock</th>").unwrap();
        clock.split("</td>").next().unwrap().to_owned()
    };
    let unused = clock(&browser.read(&path));
    assert!(
        unused.contains("never used") && !unused.contains("on time"),
        "{unused}"
    );
    assert!(passes(&gate, &svc));
    until("it is on time", || {
        clock(&browser.read(&path)).contains("on time")
    });
    for (drift, expected) in [
        (-1, "1 step behind"),
        (1, "1 step ahead"),
        (2, "2 steps ahead"),
    ] {
        let sql = format!(
            "UPDATE identity_use SET drift = {drift} WHERE identity = {number} RETURNING 1"
        );
        assert_eq!(gate.number(&sql), 1);
        until(expected, || clock(&browser.read(&path)).contains(expected));
    }
}

#[test]
fn form_marks_all_wrong_fields_at_once() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let fields = [
        ("name", ""),
        ("realm", "payments"),
        ("expires", "soon"),
        ("digits", "9"),
        ("period", "0"),
        ("seed", "?"),
    ];
    // What the page cannot read, and what /v1 rejects.
    for expires in ["soon", "2001-01-01"] {
        let mut fields = fields;
        fields[2].1 = expires;
        let reply = browser.post("/identities/new", &fields);
        assert_eq!(reply.status, 422);
        for field in ["name", "expires", "digits", "period", "seed"] {
            let wrong = format!("aria-describedby=\"{field}-wrong\" autofocus");
            assert!(reply.body.contains(&wrong), "{field}: {}", reply.body);
        }
        assert_eq!(reply.body.matches("aria-invalid").count(), 5);
    }
    let page = browser.get("/routes?url=foo&as=nobody&from=300.1.1.1&method=");
    assert_eq!(page.status, 422);
    for field in ["as", "from"] {
        let wrong = format!("id=\"{field}-wrong\"");
        assert!(page.body.contains(&wrong), "{field}: {}", page.body);
    }
}

#[test]
fn rejected_lines_of_a_list_are_offered_again() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    gate.register("taken", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let list = "\"a, b\",\"payments\"\ntaken\n\"open\n=new\ntwice\ntwice\n";
    let fields = [("realm", "payments"), ("list", list)];
    let reply = browser.post("/identities/bulk", &fields);
    assert_eq!(reply.status, 200);
    let page = reply.body;
    assert!(page.contains("3 created, 3 rejected"), "{page}");
    assert_eq!(value(&page, "list").trim(), "taken\n\"open\ntwice");
    assert_eq!(value(&page, "realm"), "payments");
    let csv = value(&page, "csv");
    assert!(csv.contains("\r\n\"a, b\",\"payments\","), "{csv}");
    assert!(csv.contains("\r\n\"'=new\","), "{csv}");
    assert!(page.contains("has an apostrophe in front"), "{page}");
    let made = "SELECT count(*) FROM identity WHERE name IN ('a, b', '=new', 'twice')";
    assert_eq!(gate.number(made), 3);
}

#[test]
fn names_that_look_alike_are_told_apart_and_found_as_a_whole() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    for name in ["svc", "s\u{200b}vc", "cvs\u{202e}"] {
        let fields = [("name", name), ("realm", "payments")];
        assert_eq!(browser.post("/identities/new", &fields).status, 201);
    }
    let page = browser.read("/identities");
    let hidden = [
        "s<span class=\"char\">U+200B</span>vc",
        "cvs<span class=\"char\">U+202E</span>",
    ];
    for shown in hidden {
        assert!(page.contains(&format!("<bdi>{shown}</bdi>")), "{page}");
    }
    let page = browser.read("/identities?name=svc@payments");
    assert!(page.contains("<bdi>svc</bdi>"), "{page}");
    assert!(!page.contains("<bdi>root</bdi>"), "{page}");
    assert_eq!(value(&page, "realm"), "payments");
}

#[test]
fn control_characters_that_sql_has_written_are_shown_by_their_numbers() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let odd = "a\u{7}b\u{1b}\u{9b}";
    let write = format!(
        "UPDATE identity SET name = '{odd}', realm = '{odd}', comment = '{odd}' WHERE name = 'svc' RETURNING id"
    );
    let path = format!("/identities/{}", gate.number(&write));
    for page in ["/identities", &path, &format!("{path}/delete"), "/"] {
        until("the page shows the name", || {
            browser.read(page).contains("U+009B")
        });
        let page = browser.read(page);
        let is_raw = |it: char| it.is_control() && it != '\n';
        assert!(!page.contains(is_raw), "{page}");
    }
    // The form shows them too, and saves none that was not typed.
    assert_eq!(value(&browser.read(&path), "name"), "aU+0007bU+001BU+009B");
}

#[test]
fn control_characters_in_an_address_are_shown_by_their_numbers() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    let odd = "a%07b%1B%C2%9B";
    for (path, fields) in [
        ("/identities", &["name", "realm"][..]),
        ("/identities", &["state", "condition", "sort"]),
        ("/audit", &["principal"]),
        ("/audit", &["since", "until", "event", "reason"]),
        ("/routes", &["method", "url", "as", "from"]),
    ] {
        let query = fields.iter().map(|field| format!("{field}={odd}"));
        let query = query.collect::<Vec<_>>().join("&");
        let page = browser.get(&format!("{path}?{query}")).body;
        let is_raw = |it: char| it.is_control() && it != '\n';
        assert!(!page.contains(is_raw), "{path}: {page}");
        let chosen = ["state", "condition", "sort", "event", "reason"];
        for field in fields.iter().filter(|it| !chosen.contains(it)) {
            assert_eq!(
                value(&page, field),
                "aU+0007bU+001BU+009B",
                "{path} {field}"
            );
        }
    }
    // The search and the links of the page still mean what the address says.
    gate.register("svc", "payments");
    let name = "a\u{7}b\u{1b}\u{9b}";
    let write = format!("UPDATE identity SET name = '{name}' WHERE name = 'svc' RETURNING 1");
    assert_eq!(gate.number(&write), 1);
    let page = browser.read(&format!("/identities?name={odd}"));
    assert!(page.contains(&format!("name={odd}")), "{page}");
}

/// Returns the value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("type=\"hidden\" name=\"{name}\""))?;
    Some(value(&format!("id=\"it\"{rest}"), "it"))
}

#[test]
fn list_sent_after_a_session_has_ended_can_be_sent_again_after_the_login() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::of(&gate);
    let list = "svc\n\"<b>&amp;\",\"a\"\nlast";
    let fields = [("realm", "payments"), ("list", list), ("token", "918273")];
    let page = browser.post("/identities/bulk", &fields);
    assert_eq!(page.status, 401);
    assert!(page.body.contains("nothing was created"), "{}", page.body);
    let kept = |page: &str| {
        let [realm, list] = ["unsent_realm", "unsent_list"].map(|name| hidden(page, name));
        (realm.unwrap(), list.unwrap())
    };
    assert_eq!(kept(&page.body), ("payments".to_owned(), list.to_owned()));
    assert!(!page.body.contains("918273"), "{}", page.body);
    // It survives a wrong token.
    let log_in = |browser: &mut Browser<'_>, page: &str, token: &str| {
        let (realm, list) = kept(page);
        let fields = [
            ("name", &*admin.name),
            ("token", token),
            ("next", "/identities/bulk"),
            ("unsent_realm", &realm),
            ("unsent_list", &list),
        ];
        browser.post("/login", &fields)
    };
    let page = log_in(&mut browser, &page.body, &admin.wrong_token());
    assert_eq!((page.status, browser.cookie.is_some()), (401, false));
    let page = log_in(&mut browser, &page.body, &admin.token());
    assert_eq!((page.status, browser.cookie.is_some()), (200, true));
    assert_eq!(value(&page.body, "realm"), "payments");
    assert_eq!(value(&page.body, "list"), list);
    assert_inert(&page.body);
    // Only the administrator sends it.
    assert_eq!(gate.number("SELECT count(*) FROM identity"), 1);
    let (realm, list) = (value(&page.body, "realm"), value(&page.body, "list"));
    let reply = browser.post("/identities/bulk", &[("realm", &realm), ("list", &list)]);
    assert!(reply.body.contains("3 created"), "{}", reply.body);
    // One that its form would reject for its size is not kept, and neither are other forms.
    let mut other = Browser::of(&gate);
    let long = "a\n".repeat(600_000);
    for (path, list) in [("/identities/bulk", &*long), ("/identities/new", "a")] {
        let page = other.post(path, &[("realm", "payments"), ("list", list)]);
        assert_eq!(page.status, 401, "{path}");
        assert_eq!(hidden(&page.body, "unsent_list"), None, "{path}");
    }
}

#[test]
fn login_after_a_session_has_ended_returns_to_the_form() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::of(&gate);
    for (path, expected) in [
        ("/identities/bulk", "/identities/bulk"),
        ("/identities/7/rotate", "/identities/7/rotate"),
        ("/sessions/00/end", "/sessions"),
    ] {
        let reply = browser.post(path, &[("list", "a@b")]);
        assert_eq!(reply.status, 401);
        let next = format!("name=\"next\" value=\"{expected}\"");
        assert!(reply.body.contains(&next), "{}", reply.body);
    }
    let token = admin.token();
    let fields = [
        ("name", &*admin.name),
        ("token", &token),
        ("next", "/identities/bulk"),
    ];
    let reply = browser.post("/login", &fields);
    assert_eq!(reply.field("Location"), Some("/identities/bulk"));
}
