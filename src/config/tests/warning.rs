use super::*;

fn warnings(text: &str) -> Vec<String> {
    let upstream = "[upstream.web]\npeers = ['127.0.0.1:9000']\n";
    parse(&format!("{text}{upstream}")).warnings()
}

fn named(name: &str, allow: &str, more: &str) -> String {
    format!("[[route]]\nname = '{name}'\nallow = {allow}\nupstream = 'web'\n{more}\n")
}

const OPS: &str = "[{ realm = 'ops' }]";
const SAID: &str = "ignore_case = false\nignore_suffix = false";

#[test]
fn wider_route_after_a_narrower_one_with_a_longer_path_is_warned_of() {
    let web = named("web", "'anyone'", "");
    let both =
        |more: &str| warnings(&(named("admin", OPS, &format!("path = '/admin/'\n{more}")) + &web));
    assert_eq!(
        both(""),
        [
            "route \"web\" admits callers that route \"admin\" does not, and gets /ADMIN and /admin.json: if its \
             upstream takes them for /admin, write ignore_case = true, ignore_suffix = true into route \"admin\", \
             otherwise ignore_case = false, ignore_suffix = false"
        ]
    );
    assert_eq!(
        both("ignore_case = true"),
        [
            "route \"web\" admits callers that route \"admin\" does not, and gets /admin.json: if its upstream takes \
             them for /admin, write ignore_suffix = true into route \"admin\", otherwise ignore_suffix = false"
        ]
    );
    assert_eq!(both(SAID), [""; 0]);
}

#[test]
fn route_that_gets_nothing_or_admits_nobody_else_is_not_warned_of() {
    let admin = named("admin", OPS, "path = '/admin'");
    let last = named("web", "'anyone'", "path = '/'");
    for (later, expected) in [
        (named("web", OPS, ""), 0),
        (named("web", "[{ realm = 'ops', name = 'alice' }]", ""), 0),
        (named("web", "[{ realm = 'dev' }]", ""), 1),
        (named("web", "'authenticated'", ""), 1),
        (named("web", "'anyone'", "path = '/other'"), 0),
        (named("web", "'anyone'", "path = '/admin/x'"), 0),
        (named("web", "'anyone'", "host = 'a.example'"), 1),
        // What comes between gets it all.
        (named("all", OPS, "") + &last, 0),
        (named("all", OPS, "host = 'a.example'") + &last, 1),
        (named("all", OPS, "methods = ['GET']") + &last, 1),
    ] {
        let text = format!("{admin}{later}");
        let warnings = warnings(&text);
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
    // First come, first served: nothing falls to a route that stands before.
    let before = named("web", "'anyone'", "path = '/public'") + &named("admin", OPS, "");
    assert_eq!(warnings(&before), [""; 0]);
}

#[test]
fn methods_that_fall_through_to_a_wider_route_are_warned_of() {
    let admin = |methods: &str| {
        named(
            "admin",
            OPS,
            &format!("path = '/admin'\nmethods = {methods}\n{SAID}"),
        )
    };
    let web = named("web", "'anyone'", "");
    let rest =
        |allow: &str, more: &str| named("rest", allow, &format!("path = '/admin'\n{more}\n{SAID}"));
    assert_eq!(
        warnings(&(admin("['GET']") + &web)),
        [
            "route \"admin\" takes GET, HEAD only: other methods of /admin fall to route \"web\", which admits \
             callers that it does not; leave methods out, or write a route with the same path and no methods after it"
        ]
    );
    for (text, expected) in [
        (admin("['GET']") + &named("web", OPS, ""), 0),
        // Whoever writes a route for the rest means it.
        (admin("['GET']") + &rest("'authenticated'", "") + &web, 0),
        (
            admin("['GET']") + &rest(OPS, "methods = ['POST']") + &web,
            2,
        ),
        (
            admin("['GET']") + &rest(OPS, "host = 'a.example'") + &web,
            1,
        ),
        (
            admin("['GET']") + &named("web", "'anyone'", "methods = ['GET', 'HEAD']"),
            0,
        ),
        (
            admin("['GET']") + &named("web", "'anyone'", "methods = ['PUT']"),
            1,
        ),
    ] {
        let warnings = warnings(&text);
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
}
