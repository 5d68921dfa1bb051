//! Real frameworks behind the proxy: each folds paths as `docs/bypasses.md` says, and no spelling
//! reaches a page that its route protects.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::harness::program::Program;
use crate::harness::{Caller, Gate, get};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framework {
    Express,
    Rails,
    /// Django REST framework with format suffixes.
    Rest,
    Django,
    Flask,
    FastApi,
}

use Framework::{Django, Express, FastApi, Flask, Rails, Rest};

impl Framework {
    fn command(self, address: SocketAddr) -> Command {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = project.join("target/tools");
        let applications = project.join("tests/it/proxy/frameworks");
        let wsgi = |module: &str| {
            let mut command = Command::new(tools.join("bin/gunicorn"));
            command.args(["--bind", &address.to_string(), "--graceful-timeout", "1"]);
            command.arg("--chdir").arg(&applications).arg(module);
            command
        };
        match self {
            Express => {
                let mut command = Command::new("node");
                command.arg(applications.join("express.js"));
                command.arg(address.port().to_string());
                command.env("NODE_PATH", tools.join("node/node_modules"));
                command
            }
            Rails => {
                let mut command = Command::new("puma");
                command.args(["-e", "production", "-b", &format!("tcp://{address}")]);
                command.arg(applications.join("rails.ru"));
                command
            }
            Rest => wsgi("rest:app"),
            Django => wsgi("plain_django:app"),
            Flask => wsgi("plain_flask:app"),
            FastApi => {
                let mut command = Command::new(tools.join("bin/uvicorn"));
                command.args(["--port", &address.port().to_string(), "--app-dir"]);
                command.arg(&applications).arg("fast:app");
                command
            }
        }
    }

    fn start(self) -> Program {
        Program::start(
            |address, _| self.command(address),
            |program| TcpStream::connect(program.address).is_ok(),
        )
    }

    /// The route settings that the page on bypasses recommends.
    fn keys(self) -> &'static str {
        match self {
            Express => "ignore_case = true",
            Rails | Rest => "ignore_suffix = true",
            Django | Flask | FastApi => "",
        }
    }

    /// The paths that it reads as `/admin`, beyond those of every framework.
    fn folds(self) -> &'static [&'static str] {
        match self {
            Express => &["/ADMIN", "/Admin/", "/aDmin/x"],
            Rails => &["//admin", "///admin/x", "/admin.json", "/admin.x/"],
            Rest => &["/admin.json", "/admin.x/", "/%61dmin"],
            Django => &["/%61dmin", "/admin%2fx"],
            Flask => &[
                "//admin",
                "///admin/x",
                "/%2fadmin",
                "/%61dmin",
                "/admin%2fx",
            ],
            FastApi => &["/%61dmin", "/admin%2fx"],
        }
    }
}

/// Possible spellings of `/admin`.
const SPELLINGS: [&str; 46] = [
    "/admin",
    "/admin/",
    "/admin/x",
    "/admin?x",
    "/ADMIN",
    "/Admin/",
    "/aDmin/x",
    "/admin.json",
    "/admin.x/",
    "/ADMIN.json",
    "/admin.json/x",
    "/admin.",
    "/admin./",
    "//admin",
    "///admin/x",
    "//x/admin",
    "/admin//x",
    "/;/admin",
    "/;x/admin",
    "/x/;/admin",
    "/admin;",
    "/admin;x/y",
    "/admin%3bx",
    "/%61dmin",
    "/%41DMIN",
    "/%2561dmin",
    "/admin%2fx",
    "/%2fadmin",
    "/%2Fadmin%2fx",
    "/%252fadmin",
    "/admin%252fx",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/x/%252e%252e/admin",
    "/x/..;/admin",
    "/x/..%2fadmin",
    "/x/..%5cadmin",
    "/admin%20",
    "/%20/admin",
    "/admin%00",
    "/admin%0a",
    "/admin%3fx",
    "/admin%23x",
    "/%ef%bd%81dmin",
    "/%c0%afadmin",
    "/admin%2ejson",
];

/// `/admin` is for the realm `ops`; everything else, with any slashes, is public.
fn gate(app: &Program, keys: &str) -> (Gate, Caller) {
    let gate = Gate::start(&format!(
        r#"
        [[route]]
        name = "admin"
        path = "/admin"
        allow = [{{ realm = "ops" }}]
        upstream = "app"
        allow_double_slash = true
        allow_encoded_slash = true
        {keys}
        [[route]]
        name = "web"
        allow = "anyone"
        upstream = "app"
        allow_double_slash = true
        allow_encoded_slash = true
        [upstream.app]
        peers = ["{}"]
        "#,
        app.address
    ));
    let olga = gate.register("olga", "ops");
    (gate, olga)
}

/// Returns the spellings for which the application serves `/admin`.
fn run_admin(address: SocketAddr, fields: &str) -> Vec<&'static str> {
    let runs = |path: &&str| {
        let reply = get(address, path, fields);
        // Chunked or not.
        reply.status == 200 && reply.body.contains("admin")
    };
    SPELLINGS.into_iter().filter(runs).collect()
}

/// Checks which spellings a framework folds, that none of them is open to strangers, and that
/// callers can use them.
fn hold(framework: Framework) {
    let app = framework.start();
    let plain = ["/admin", "/admin/", "/admin/x", "/admin?x"];
    let direct = run_admin(app.address, "");
    for path in framework.folds() {
        assert!(
            direct.contains(path),
            "{path} is no /admin of {framework:?}: {direct:?}"
        );
    }
    let (gate, olga) = gate(&app, framework.keys());
    assert_eq!(run_admin(gate.gateway, ""), [""; 0], "{framework:?}");
    let reached = run_admin(gate.gateway, &olga.fields());
    for path in plain {
        assert!(reached.contains(&path), "{path}: {reached:?}");
    }
    assert!(get(gate.gateway, "/x", "").body.contains("other"));
    // Without the settings, they are open; that is their purpose.
    let (gate, _olga) = self::gate(&app, "");
    let open = run_admin(gate.gateway, "");
    assert_eq!(
        open.is_empty(),
        framework.keys().is_empty(),
        "{framework:?}: {open:?}"
    );
    if framework.keys().contains("ignore_case") {
        assert!(reached.contains(&"/ADMIN") && open.contains(&"/ADMIN"));
    }
    if framework.keys().contains("ignore_suffix") {
        assert!(reached.contains(&"/admin.json") && open.contains(&"/admin.json"));
    }
}

#[test]
fn express_runs_no_guarded_page_for_strangers() {
    hold(Express);
}

#[test]
fn rails_runs_no_guarded_page_for_strangers() {
    hold(Rails);
}

#[test]
fn rest_framework_runs_no_guarded_page_for_strangers() {
    hold(Rest);
}

#[test]
fn django_runs_no_guarded_page_for_strangers() {
    hold(Django);
}

#[test]
fn flask_runs_no_guarded_page_for_strangers() {
    hold(Flask);
}

#[test]
fn fast_api_runs_no_guarded_page_for_strangers() {
    hold(FastApi);
}
