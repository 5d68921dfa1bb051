//! Responses to authenticated requests stay out of shared caches.

use crate::harness::nginx::Nginx;
use crate::harness::{Caller, Gate, Reply, Upstream, get};

/// `/api` and `/shared` are for every authenticated principal, `/shared` also for shared caches;
/// everything else is public.
fn gate() -> (Gate, Upstream, Caller) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "[[route]]\nname = 'api'\npath = '/api'\nallow = 'authenticated'\nupstream = 'app'\n\
         [[route]]\nname = 'set'\npath = '/set'\nallow = 'authenticated'\nupstream = 'app'\n\
         response_headers = {{ set = {{ Cache-Control = 'public, max-age=9' }} }}\n\
         [[route]]\nname = 'shared'\npath = '/shared'\nallow = 'authenticated'\nupstream = 'app'\n\
         shared_cache = true\n\
         [[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['{}']\n",
        upstream.address
    ));
    let caller = gate.register("billing", "payments");
    (gate, upstream, caller)
}

/// Requests a response with these headers.
fn ask(gate: &Gate, path: &str, caller: Option<&Caller>, lines: &[&str]) -> Reply {
    let lines = lines.iter().map(|line| format!("X-Answer: {line}\r\n"));
    let fields = caller.map(Caller::fields).unwrap_or_default();
    let fields = [fields, lines.collect()].concat();
    let reply = get(gate.gateway, path, &fields);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

/// Returns all values of `Cache-Control`.
fn cache_control(reply: &Reply) -> Vec<&str> {
    let lines = reply.head.lines().filter_map(|line| line.split_once(": "));
    let lines = lines.filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    lines.map(|(_, value)| value).collect()
}

#[test]
fn authenticated_response_is_private_unless_the_route_shares_it() {
    let (gate, _upstream, caller) = gate();
    for (lines, expected) in [
        (&[][..], "private"),
        (
            &[
                "Cache-Control: public, max-age=60",
                "Cache-Control: s-maxage=60",
            ],
            "max-age=60, private",
        ),
        (&["cache-control: no-store"], "no-store, private"),
        (&["Cache-Control: private, max-age=1"], "private, max-age=1"),
        (&["Cache-Control: a=\""], "no-store, private"),
    ] {
        let reply = ask(&gate, "/api", Some(&caller), lines);
        assert_eq!(cache_control(&reply), [expected], "{lines:?}");
        for (path, who) in [("/public", None), ("/shared", Some(&caller))] {
            let reply = ask(&gate, path, who, lines);
            let sent = lines.iter().map(|line| line.split_once(": ").unwrap().1);
            assert_eq!(cache_control(&reply), sent.collect::<Vec<_>>(), "{path}");
        }
    }
    // The route sets its header first.
    let reply = ask(&gate, "/set", Some(&caller), &[]);
    assert_eq!(cache_control(&reply), ["max-age=9, private"]);
}

#[test]
fn cache_specific_headers_are_removed_from_an_authenticated_response() {
    let (gate, _upstream, caller) = gate();
    let names = [
        "CDN-Cache-Control",
        "Surrogate-Control",
        "X-Accel-Expires",
        "X-Varnish-TTL",
        "X-Cache-TTL",
    ];
    let lines = names.map(|name| format!("{name}: max-age=60"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let reply = ask(&gate, "/api", Some(&caller), &lines);
    for name in names {
        assert_eq!(reply.field(name), None, "{reply:?}");
        for (path, who) in [("/public", None), ("/shared", Some(&caller))] {
            let reply = ask(&gate, path, who, &lines);
            assert_eq!(reply.field(name), Some("max-age=60"), "{path}");
        }
    }
}

#[test]
fn cache_before_the_gateway_gives_no_stranger_an_authenticated_response() {
    let (gate, upstream, caller) = gate();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {name};"));
    let nginx = Nginx::start(|address| {
        format!(
            "pid nginx.pid; events {{}} http {{ access_log off; {} \
             proxy_cache_path cache keys_zone=all:1m; \
             server {{ listen {address}; location / {{ proxy_pass http://{}; proxy_cache all; \
             add_header X-Cache $upstream_cache_status; }} }} }}",
            temporary.join(" "),
            gate.gateway
        )
    });
    for lines in [
        "X-Answer: Cache-Control: max-age=60\r\n",
        "X-Answer: Cache-Control: public, s-maxage=60\r\nX-Answer: CDN-Cache-Control: max-age=60\r\n",
        "X-Answer: X-Accel-Expires: 60\r\n",
        "X-Answer: Expires: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
    ] {
        let proved = format!("{}{lines}", caller.fields());
        for path in ["/api", "/shared"] {
            let path = format!("{path}/{}", lines.len());
            let reply = get(nginx.address, &path, &proved);
            assert_eq!(reply.status, 200, "{reply:?}");
            let stranger = get(nginx.address, &path, lines);
            // A shared cache gives strangers what the route allows.
            let expected = if path.starts_with("/api") { 401 } else { 200 };
            assert_eq!(stranger.status, expected, "{path} {lines} {stranger:?}");
        }
        let before = upstream.seen().len();
        let public = format!("/public/{}", lines.len());
        get(nginx.address, &public, lines);
        assert_eq!(
            get(nginx.address, &public, lines).field("X-Cache"),
            Some("HIT")
        );
        assert_eq!(upstream.seen().len(), before + 1);
    }
}
