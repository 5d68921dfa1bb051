use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A directory with a main file.
struct Folder(TempDir);

impl Folder {
    fn new(main: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("realmgate.toml", main);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self) -> Config {
        Config::load(Some(&self.path("realmgate.toml")), []).unwrap()
    }

    /// Returns the message, without the directory.
    fn error(&self) -> String {
        let error = Config::load(Some(&self.path("realmgate.toml")), []).unwrap_err();
        let folder = format!("{}/", self.0.path().display());
        error.to_string().replace(&folder, "")
    }

    fn names(&self) -> Vec<String> {
        let routes = self.load().routes.into_iter();
        routes.map(|route| route.name).collect()
    }
}

fn route(name: &str, lines: &str) -> String {
    format!("[[route]]\nname = '{name}'\nallow = 'anyone'\nupstream = 'web'\n{lines}\n")
}

const WEB: &str = "[upstream.web]\npeers = ['127.0.0.1:9000']\n";

#[test]
fn routes_follow_in_the_order_of_items_and_names() {
    let main = format!(
        "include = ['z.toml', 'routes.d/*.toml']\n{}{WEB}",
        route("main", "path = '/main'")
    );
    let folder = Folder::new(&main);
    for name in ["routes.d/b.toml", "routes.d/a.toml", "z.toml"] {
        let route_name = name.replace(['/', '.'], "-");
        folder.write(
            name,
            &route(&route_name, &format!("path = '/{route_name}'")),
        );
    }
    // Neither an editor's nor Kubernetes' files.
    folder.write("routes.d/a.toml~", "no TOML");
    folder.write("routes.d/.a.toml.swp.toml", "no TOML");
    let expected = ["main", "z-toml", "routes-d-a-toml", "routes-d-b-toml"];
    assert_eq!(folder.names(), expected);
    let included = folder.load().included;
    assert_eq!(included.len(), 3);
    assert!(included[0].ends_with("z.toml"), "{included:?}");
}

#[test]
fn upstreams_may_stand_in_any_file() {
    let folder = Folder::new(&format!("{WEB}[[include]]\nfiles = 'a.toml'\n"));
    folder.write(
        "a.toml",
        "[[route]]\nname = 'a'\nallow = 'anyone'\nupstream = 'own'\n[upstream.own]\npeers = ['127.0.0.1:1']\n",
    );
    let config = folder.load();
    let names: Vec<_> = config.upstreams.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["own", "web"]);
}

#[test]
fn mistakes_name_their_file_and_line() {
    let folder = Folder::new(&format!("include = ['*.inc']\n{WEB}"));
    folder.write("a.inc", &route("a", "path = 'a'"));
    folder.write(
        "b.inc",
        "\n\n[store]\nurl = 'sqlite:x'\n[[route]]\nname = 'b'\nallow = 'anyone'\n",
    );
    folder.write("c.inc", &format!("{}\n{WEB}", route("a", "path = '/c'")));
    let error = folder.error();
    let lines: Vec<_> = error.lines().collect();
    assert!(
        lines[0].starts_with("a.inc:5: route[0].path = 'a': expected"),
        "{error}"
    );
    assert_eq!(
        lines[1],
        "b.inc:3: store: unknown key, expected one of group, route, upstream (the file is included)"
    );
    assert!(
        lines[2].starts_with("b.inc:5: route[1].upstream: missing"),
        "{error}"
    );
    assert!(
        lines[3].starts_with("c.inc:2: route[2].name = 'a': expected a name"),
        "{error}"
    );
    assert!(
        lines[4].starts_with(
            "c.inc:7: upstream.web = web: expected a name that no other file has (it is at realmgate.toml:2)"
        ),
        "{error}"
    );
    assert_eq!(lines.len(), 5, "{error}");
    folder.write("a.inc", "x = = 1\n");
    assert!(
        folder.error().starts_with("a.inc:1:5: "),
        "{}",
        folder.error()
    );
}

#[test]
fn included_file_includes_nothing() {
    let folder = Folder::new("include = ['a.toml']\n");
    folder.write("a.toml", "include = ['b.toml']\n");
    assert_eq!(
        folder.error(),
        "a.toml:1: include: unknown key, expected one of group, route, upstream (the file is included)"
    );
}

#[test]
fn only_files_below_the_directory_are_included() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.toml");
    fs::write(&secret, "secret = 1\n").unwrap();
    for pattern in [
        "../a.toml",
        "/etc/passwd",
        "a/../b.toml",
        "*/a.toml",
        "**/a.toml",
        "",
        "a/",
    ] {
        let folder = Folder::new(&format!("include = ['{pattern}']\n"));
        let error = folder.error();
        let expected = format!(
            "realmgate.toml:1: include[0] = '{pattern}': expected files below the directory of this file"
        );
        assert!(error.starts_with(&expected), "{error}");
    }
    let folder = Folder::new("include = ['a.toml']\n");
    let expect = |why: &str| {
        let expected =
            "realmgate.toml:1: include[0] = 'a.toml': expected files that can be read (a.toml: ";
        let error = folder.error();
        assert_eq!(error, format!("{expected}{why})"), "{error}");
    };
    expect("No such file or directory (os error 2)");
    symlink(&secret, folder.path("a.toml")).unwrap();
    expect("it is a link to a place outside the directory of the main file");
    fs::remove_file(folder.path("a.toml")).unwrap();
    symlink("a.toml", folder.path("a.toml")).unwrap();
    expect("Too many levels of symbolic links (os error 40)");
    fs::remove_file(folder.path("a.toml")).unwrap();
    fs::create_dir(folder.path("a.toml")).unwrap();
    expect("it is not a regular file");
    fs::remove_dir(folder.path("a.toml")).unwrap();
    symlink("realmgate.toml", folder.path("a.toml")).unwrap();
    expect("it is the main file");
}

#[test]
fn file_is_included_once() {
    let folder = Folder::new("include = ['a.toml', '*.toml']\n");
    let error = folder.error();
    assert!(error.contains("a.toml: No such file"), "{error}");
    let folder = Folder::new("include = ['a.inc', '*.inc']\n");
    folder.write("a.inc", "");
    assert_eq!(
        folder.error(),
        "realmgate.toml:1: include[1] = '*.inc': expected files that can be read (a.inc: it is included twice)"
    );
}

#[test]
fn directory_without_matching_files_includes_nothing() {
    let folder = Folder::new("include = ['routes.d/*.toml']\n");
    let error = folder.error();
    assert!(
        error.contains("expected a directory that can be read"),
        "{error}"
    );
    fs::create_dir(folder.path("routes.d")).unwrap();
    assert!(folder.load().included.is_empty());
}

#[test]
fn wrong_forms_of_include_are_rejected() {
    for (main, expected) in [
        (
            "include = 'a.toml'",
            "1: include = 'a.toml': expected an array of files; or write [[include]]",
        ),
        ("include = [5]", "1: include[0] = 5: expected files such as"),
        (
            "[[include]]\nhost = 'a'",
            "1: include[0].files: missing, expected files such as",
        ),
        (
            "[[include]]\nfiles = 'x.toml'\nhosts = 'a'",
            "3: include[0].hosts: unknown key (did you mean host?), expected one of files, host, path",
        ),
    ] {
        let folder = Folder::new(main);
        folder.write("x.toml", "");
        let error = folder.error();
        assert!(
            error.starts_with(&format!("realmgate.toml:{expected}")),
            "{error}"
        );
    }
}

/// Returns the message about the routes in a file that `bounds` restricts; empty if there is none.
fn bounded(bounds: &str, lines: &str) -> String {
    let folder = Folder::new(&format!(
        "[[include]]\nfiles = 'team.toml'\n{bounds}\n{WEB}"
    ));
    folder.write("team.toml", &route("a", lines));
    match Config::load(Some(&folder.path("realmgate.toml")), []) {
        Ok(_) => String::new(),
        Err(_) => folder.error(),
    }
}

#[test]
fn group_in_a_file_with_bounds_is_rejected() {
    let group = "path = '/a/'\n[group.ops]\nmembers = [{ realm = 'evil' }]";
    for bounds in ["host = 'a.example'", "path = '/a'"] {
        let lines = format!("host = 'a.example'\n{group}");
        let error = bounded(bounds, &lines);
        assert!(
            error.contains("group.ops = {…}: expected no groups"),
            "{error}"
        );
    }
}

#[test]
fn upstream_in_a_file_with_bounds_takes_no_header_from_the_applications_of_others() {
    let upstream = |headers: &str| {
        format!(
            "host = 'a.example'\npath = '/a/'\n[upstream.own]\npeers = ['127.0.0.1:9']\nidentity_headers = {headers}"
        )
    };
    for bounds in ["host = 'a.example'", "path = '/a'"] {
        // Every header that an upstream names is removed from the requests to all applications.
        for (headers, key) in [
            ("{ user = 'X-Session' }", "user = 'X-Session'"),
            (
                "{ name = 'X-Auth-Name', realm = 'Locale' }",
                "realm = 'Locale'",
            ),
        ] {
            let error = bounded(bounds, &upstream(headers));
            let expected = format!(
                "9: upstream.own.identity_headers.{key}: expected in the files of an include with host or path, a header \
                 that realmgate removes anyway"
            );
            assert!(error.contains(&expected), "{bounds} {headers}: {error}");
        }
        for headers in [
            "{ user = 'X-WebAuth-User' }",
            "{ name = 'X-Auth-Name', user = 'X-Forwarded-User' }",
        ] {
            assert_eq!(
                bounded(bounds, &upstream(headers)),
                "",
                "{bounds} {headers}"
            );
        }
    }
    // Without bounds, the file may do what the main file may do.
    assert_eq!(bounded("", &upstream("{ user = 'X-Session' }")), "");
}

#[test]
fn upstream_of_another_file_cannot_be_changed() {
    let again = "host = 'a.example'\n[upstream.web]\npeers = ['127.0.0.1:9']\nidentity_headers = { user = 'X-WebAuth-User' }";
    let error = bounded("host = 'a.example'", again);
    assert!(
        error.contains("upstream.web = web: expected a name that no other file has"),
        "{error}"
    );
}

#[test]
fn route_within_the_bounds_of_its_include_passes() {
    for (bounds, lines) in [
        ("", ""),
        ("host = 'a.example'", "host = 'A.example'"),
        (
            "host = ['b.example', '*.a.example']",
            "host = 'x.a.example'",
        ),
        ("host = '**.a.example'", "host = 'y.x.a.example'"),
        ("path = '/'", ""),
        ("path = '/a/'", "path = '/a'"),
        ("path = '/a'", "path = '/a/b'"),
        ("path = '/'", "path = '/a'\nignore_case = true"),
        (
            "host = 'a.example'\npath = '/a'",
            "host = 'a.example'\npath = '/a/'",
        ),
    ] {
        assert_eq!(bounded(bounds, lines), "", "{bounds} {lines}");
    }
}

#[test]
fn route_beyond_the_bounds_of_its_include_is_rejected() {
    for (bounds, lines, expected) in [
        (
            "host = 'a.example'",
            "",
            "1: route[0].host: missing, expected a host within",
        ),
        (
            "host = 'a.example'",
            "host = 'b.example'",
            "5: route[0].host = 'b.example': expected a host within the bounds of its include (a.example)",
        ),
        (
            "host = '*.a.example'",
            "host = 'a.example'",
            "5: route[0].host",
        ),
        (
            "host = '*.a.example'",
            "host = 'y.x.a.example'",
            "5: route[0].host",
        ),
        (
            "host = '*.a.example'",
            "host = 'xa.example'",
            "5: route[0].host",
        ),
        (
            "host = '*.a.example'",
            "host = ['x.a.example', '**.a.example']",
            "5: route[0].host[1] = '**.a.example'",
        ),
        (
            "path = '/a'",
            "path = ['=/a', '/*/b']",
            "5: route[0].path[1] = '/*/b'",
        ),
        (
            "path = '/a'",
            "",
            "1: route[0].path: missing, expected a path within the bounds of its include (\"/a\")",
        ),
        ("path = '/a'", "path = '/'", "5: route[0].path"),
        ("path = '/a'", "path = '/ab'", "5: route[0].path"),
        ("path = '/a/b'", "path = '/a'", "5: route[0].path"),
        ("path = '/a'", "path = '/A'", "5: route[0].path"),
        (
            "path = '/a'",
            "path = '/a'\nignore_case = true",
            "6: route[0].ignore_case = true: expected false",
        ),
        (
            "path = '/a'",
            "path = '/a'\nignore_suffix = true",
            "6: route[0].ignore_suffix = true: expected false",
        ),
    ] {
        let error = bounded(bounds, lines);
        assert!(
            error.starts_with(&format!("team.toml:{expected}")),
            "{bounds} {lines}: {error}"
        );
    }
}

#[test]
fn bounds_that_cannot_be_read_are_rejected() {
    for (bounds, expected) in [
        (
            "host = []",
            "3: include[0].host = []: expected hosts such as",
        ),
        ("host = 'a.*.example'", "3: include[0].host"),
        ("host = '*'", "3: include[0].host"),
        ("host = 'a.example:443'", "3: include[0].host"),
        ("path = 'a'", "3: include[0].path"),
        ("path = '/a/*'", "3: include[0].path"),
        ("path = '/a;b'", "3: include[0].path"),
    ] {
        let error = bounded(bounds, "host = 'a.example'\npath = '/a'");
        assert!(
            error.starts_with(&format!("realmgate.toml:{expected}")),
            "{bounds}: {error}"
        );
    }
}

#[test]
fn files_that_were_read_are_named_even_after_a_mistake() {
    let (cert, key) = &*CERTIFICATE;
    let folder = Folder::new(&format!(
        "include = ['routes.d/*.toml']\n[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n"
    ));
    folder.write("routes.d/a.toml", "");
    let main = folder.path("realmgate.toml");
    let (config, inputs) = Config::read(Some(&main), []);
    assert!(config.is_ok());
    assert_eq!(inputs.current(), inputs);
    assert_eq!(inputs.empty_file(), Some(&*folder.path("routes.d/a.toml")));
    // Each of these changes the state: a write, a new file, another certificate.
    folder.write("routes.d/a.toml", "nonsense = 1\n");
    assert_ne!(inputs.current(), inputs);
    let (config, inputs) = Config::read(Some(&main), []);
    assert!(config.is_err());
    assert_eq!(inputs.current(), inputs);
    folder.write("routes.d/b.toml", "");
    assert_ne!(inputs.current(), inputs);
    fs::remove_file(&main).unwrap();
    let (config, inputs) = Config::read(Some(&main), []);
    assert!(config.is_err());
    folder.write("realmgate.toml", "");
    assert_ne!(inputs.current(), inputs);
}

#[test]
fn files_without_any_route_are_warned_of() {
    let folder = Folder::new("# Files.\ninclude = ['routes.d/*.toml']\n");
    fs::create_dir(folder.path("routes.d")).unwrap();
    let warnings = || {
        let warnings = folder.load().warnings().into_iter();
        let warnings = warnings.map(|it| it.to_string());
        warnings.collect::<Vec<_>>()
    };
    let main = folder.path("realmgate.toml");
    let expected = format!(
        "{}:2: include: no file has a route, so forward-auth allows every authenticated principal; add a route, or \
         delete include if this is intended",
        main.display()
    );
    assert_eq!(warnings(), [&*expected]);
    folder.write("routes.d/web.toml", WEB);
    assert_eq!(warnings(), [&*expected]);
    folder.write("routes.d/routes.toml", &route("all", ""));
    assert_eq!(warnings(), [""; 0]);
    folder.write("routes.d/routes.toml", "");
    folder.write(
        "realmgate.toml",
        &format!("include = ['routes.d/*.toml']\n{}", route("all", "")),
    );
    assert_eq!(warnings(), [""; 0]);
    // Somebody who includes nothing has chosen to have no routes.
    folder.write("realmgate.toml", "");
    assert_eq!(warnings(), [""; 0]);
}
