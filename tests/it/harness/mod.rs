//! Starts the binary on ports chosen by the kernel, and talks to it.

pub(crate) mod certificate;
pub(crate) mod frames;
mod http;
mod idle;
pub(crate) mod nginx;
pub(crate) mod port;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod relay;
mod resolver;
pub(crate) mod tape;
mod upstream;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use realmgate::auth::{Parameters, Seed, Totp, UnixTime};
use tempfile::TempDir;

pub(crate) use http::{Reply, field, get, parse, raw, read_message, send};
pub(crate) use resolver::Resolver;
pub(crate) use upstream::Upstream;

/// The maximum wait for anything: generous, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An address that nobody can connect to.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The parts of a configuration that enable and disable the proxy.
pub(crate) const PROXY_ON: &str = "[gateway]\nlisten = \"127.0.0.1:0\"";
pub(crate) const PROXY_OFF: &str = "[gateway]\nlisten = \"off\"";

/// The maximum wait for a program that starts, which reads a large file from a busy disk.
const START: Duration = Duration::from_secs(60);

/// Polls until `condition` holds.
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

fn until_within(most: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + most;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {most:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the lines of a file that another process may be writing to. The last one may be incomplete.
pub(crate) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    let whole = text.rsplit_once('\n');
    whole.map_or("", |(whole, _)| whole).lines()
}

/// Returns a command that runs the binary without realmgate's environment variables.
pub(crate) fn realmgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_realmgate"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REALMGATE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Returns a curl that shows errors only, and gives up after 20 s.
pub(crate) fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    curl
}

/// Returns a command that runs a bash script as root of a user namespace, where it may mount file
/// systems. Arguments that follow are those of the script.
pub(crate) fn with_mounts(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command.args(["bash", "-c", script, "bash"]);
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An identity with its seed.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) realm: String,
    pub(crate) seed: String,
}

impl Caller {
    pub(crate) fn token(&self) -> String {
        self.totp().token(now())
    }

    /// Returns the token that is `steps` steps from now.
    pub(crate) fn token_of(&self, steps: i64) -> String {
        let secs = now().as_secs().saturating_add_signed(steps * 30);
        self.totp().token(UnixTime::from_secs(secs))
    }

    /// Returns a token that matches no step near the current one, where it would not count as a
    /// guess.
    pub(crate) fn wrong_token(&self) -> String {
        let totp = self.totp();
        // Digits that appear nowhere else by chance, unlike zeros in a request id.
        (271_828..)
            .map(|n| format!("{n:06}"))
            .find(|token| totp.check(token, now(), 10).is_none())
            .unwrap()
    }

    pub(crate) fn fields(&self) -> String {
        self.fields_with(&self.token())
    }

    pub(crate) fn fields_with(&self, token: &str) -> String {
        format!(
            "X-Auth-Name: {}\r\nX-Auth-Realm: {}\r\nX-Auth-Token: {token}\r\n",
            self.name, self.realm
        )
    }

    fn totp(&self) -> Totp {
        Totp::new(
            &Seed::from_base32(&self.seed).unwrap(),
            Parameters::default(),
        )
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// A running realmgate with a directory of its own. Killed and deleted on drop.
pub(crate) struct Gate {
    pub(crate) service: SocketAddr,
    /// [`NOWHERE`] if the proxy is off.
    pub(crate) gateway: SocketAddr,
    /// The metrics and health listener, unless it is off.
    pub(crate) metrics: Option<SocketAddr>,
    /// The listener for Envoy's gRPC requests, if it is configured.
    pub(crate) grpc: Option<SocketAddr>,
    /// The admin page, if it is configured.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) child: Child,
    folder: TempDir,
}

impl Gate {
    /// Starts it with its listeners on port 0, the store in its directory, and `more`
    /// configuration.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_with(&[], more)
    }

    /// The same with environment variables.
    pub(crate) fn start_with(environment: &[(&str, &str)], more: &str) -> Self {
        let mut command = realmgate(&[]);
        command.envs(environment.iter().copied());
        Self::start_as(command, more)
    }

    /// The same with a command that runs realmgate.
    pub(crate) fn start_as(command: Command, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("realmgate.toml");
        fs::write(&config, configuration(folder.path(), more)).unwrap();
        Self::start_in(folder, command)
    }

    /// The same with environment variables and without a proxy.
    pub(crate) fn start_without_proxy(environment: &[(&str, &str)], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = configuration(folder.path(), more);
        assert!(text.contains(PROXY_ON));
        let text = text.replace(PROXY_ON, PROXY_OFF);
        fs::write(folder.path().join("realmgate.toml"), text).unwrap();
        let mut command = realmgate(&[]);
        command.envs(environment.iter().copied());
        Self::start_in(folder, command)
    }

    /// Kills it with SIGKILL, and starts it again in the same directory.
    pub(crate) fn restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let ready = self.folder.path().join("ready.json");
        fs::remove_file(&ready).unwrap();
        let empty = tempfile::tempdir().unwrap();
        let ended = format!("{{\"pid\":{}}}", self.child.id());
        fs::write(empty.path().join("ready.json"), ended).unwrap();
        let folder = std::mem::replace(&mut self.folder, empty);
        Self::start_in(folder, realmgate(&[]))
    }

    /// Returns the directory after the process has ended.
    pub(crate) fn into_folder(mut self) -> TempDir {
        let empty = tempfile::tempdir().unwrap();
        let ended = format!("{{\"pid\":{}}}", self.child.id());
        fs::write(empty.path().join("ready.json"), ended).unwrap();
        let _ = fs::remove_file(self.folder.path().join("ready.json"));
        std::mem::replace(&mut self.folder, empty)
    }

    /// The same in a directory with a configuration.
    pub(crate) fn start_in(folder: TempDir, command: Command) -> Self {
        Self::start_in_with(folder, command, &[])
    }

    /// The same with options of `serve`.
    pub(crate) fn start_in_with(folder: TempDir, mut command: Command, options: &[&str]) -> Self {
        let config = folder.path().join("realmgate.toml");
        let ready = folder.path().join("ready.json");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = command
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--ready-file")
            .arg(&ready)
            .args(options)
            .stderr(log)
            .spawn()
            .unwrap();
        until_within(START, "ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = fs::read_to_string(folder.path().join("log")).unwrap();
                panic!("ended with {status}: {log}");
            }
            ready.exists()
        });
        let addresses: serde_json::Value =
            serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().parse().unwrap();
        Self {
            service: address("service"),
            gateway: addresses
                .get("gateway")
                .map_or(NOWHERE, |_| address("gateway")),
            metrics: addresses.get("metrics").map(|_| address("metrics")),
            grpc: addresses.get("grpc").map(|_| address("grpc")),
            admin: addresses.get("admin").map(|_| address("admin")),
            child,
            folder,
        }
    }

    /// Returns the address of the metrics listener, once everything that happened is counted: a
    /// request may be counted after its response.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.wait_until_idle();
        self.metrics.unwrap()
    }

    /// Waits until it has handled everything that was sent to it.
    pub(crate) fn wait_until_idle(&self) {
        let mut pids = vec![self.child.id()];
        // A process that replaces another one writes the file anew.
        if let Ok(ready) = fs::read(self.folder.path().join("ready.json"))
            && let Ok(ready) = serde_json::from_slice::<serde_json::Value>(&ready)
        {
            let pid = ready["pid"].as_u64();
            pids.extend(pid.and_then(|pid| u32::try_from(pid).ok()));
        }
        idle::wait(&pids);
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("realmgate.toml")
    }

    /// Returns the log. A thread writes it, so this waits until nothing more is written.
    pub(crate) fn log(&self) -> String {
        let read = || fs::read_to_string(self.folder.path().join("log")).unwrap();
        let mut log = read();
        loop {
            thread::sleep(Duration::from_millis(60));
            self.wait_until_idle();
            match read() {
                longer if longer.len() > log.len() => log = longer,
                log => return log,
            }
        }
    }

    /// Runs another command on the same store.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        realmgate(args)
            .arg("--json")
            .arg("--config")
            .arg(self.config())
            .output()
            .unwrap()
    }

    /// Creates an identity with the command line, while the server runs.
    pub(crate) fn register(&self, name: &str, realm: &str) -> Caller {
        let output = self.run(&["identity", "create", "--name", name, "--realm", realm]);
        assert!(output.status.success(), "{}", stderr(&output));
        let created: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        Caller {
            name: name.to_owned(),
            realm: realm.to_owned(),
            seed: created["seed"].as_str().unwrap().to_owned(),
        }
    }

    /// Makes an identity expired.
    pub(crate) fn expire(&self, who: &Caller) {
        let Caller { name, realm, .. } = who;
        let sql = format!(
            "UPDATE identity SET expires = 1577836800 WHERE name = '{name}' AND realm = '{realm}' RETURNING 1"
        );
        assert_eq!(self.number(&sql), 1);
    }

    /// Starts it with the identities on PostgreSQL.
    pub(crate) fn start_on_postgres(more: &str) -> Self {
        let (url, schema) = postgres::new_schema();
        Self::start_on(&format!("url = \"{url}\"\nschema = \"{schema}\""), more)
    }

    /// The same, with these keys of the store.
    pub(crate) fn start_on(server: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("realmgate.toml");
        let store = on_server(folder.path(), server);
        fs::write(&config, configuration_with(&store, more)).unwrap();
        Self::start_in(folder, realmgate(&[]))
    }

    /// Runs a statement in its database, whichever that is, and returns the number that it yields.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        if postgres::is_store() {
            let printed = postgres::sql_in(&self.config(), sql);
            return printed.trim().parse().unwrap();
        }
        let database = self.folder.path().join("realmgate.db");
        let database = rusqlite::Connection::open(database).unwrap();
        database.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    /// Starts another process on the same database and keys.
    pub(crate) fn start_beside(&self, more: &str) -> Self {
        self.start_beside_with(&[], more)
    }

    /// Starts another process on the same database, with these variables.
    pub(crate) fn start_beside_with(&self, variables: &[(&str, &str)], more: &str) -> Self {
        let text = fs::read_to_string(self.config()).unwrap();
        let store: toml::Table = toml::from_str(&text).unwrap();
        let store = store["store"].as_table().unwrap();
        let environment: Vec<_> = ["url", "schema", "key_file"]
            .into_iter()
            .filter_map(|key| Some((key.to_uppercase(), store.get(key)?.as_str()?)))
            .map(|(key, value)| (format!("REALMGATE_STORE_{key}"), value))
            .collect();
        let environment = environment.iter().map(|it| (&*it.0, it.1));
        let environment: Vec<_> = environment.chain(variables.iter().copied()).collect();
        Self::start_with(&environment, more)
    }

    /// Returns the id of the process that serves. It changes when the process is replaced.
    pub(crate) fn pid(&self) -> u32 {
        let ready = fs::read(self.folder.path().join("ready.json")).unwrap();
        let ready: serde_json::Value = serde_json::from_slice(&ready).unwrap();
        ready["pid"].as_u64().unwrap().try_into().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let pid = self.pid();
        if pid != self.child.id() {
            let mut kill = Command::new("kill");
            kill.args(["-s", "KILL", &pid.to_string()])
                .stderr(Stdio::null());
            let _ = kill.status();
        }
    }
}

pub(crate) fn configuration(folder: &Path, more: &str) -> String {
    let store = match postgres::is_store() {
        true => {
            let (url, schema) = postgres::new_schema();
            on_server(folder, &format!("url = \"{url}\"\nschema = \"{schema}\""))
        }
        false => format!("url = \"sqlite:{}\"", folder.join("realmgate.db").display()),
    };
    configuration_with(&store, more)
}

/// Returns the keys of the store for a server, with the key file in a folder.
pub(crate) fn on_server(folder: &Path, server: &str) -> String {
    let key = folder.join("realmgate.key");
    format!("{server}\nkey_file = \"{}\"", key.display())
}

/// Returns a configuration with these keys of the store.
pub(crate) fn configuration_with(store: &str, more: &str) -> String {
    // The machine may allow few open files, and the default limits would cause a warning.
    let limits = match more.contains("[limits]") {
        true => "",
        false => "[limits]\nconnections = 4000\nrequests = 4000\n",
    };
    format!(
        "[store]\n{store}\n{limits}[service]\nlisten = \"127.0.0.1:0\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [gateway]\nlisten = \"127.0.0.1:0\"\n{more}"
    )
}

/// Routes to one upstream: `/public` for anyone, `/ops` for realm `ops`, everything else for
/// authenticated principals.
pub(crate) fn routes(upstream: SocketAddr) -> String {
    format!(
        r#"
        [[route]]
        name = "public"
        path = "/public"
        allow = "anyone"
        upstream = "app"
        [[route]]
        name = "ops"
        path = "/ops"
        methods = ["GET", "POST"]
        allow = [{{ realm = "ops" }}, {{ realm = "dev", name = "alice" }}]
        upstream = "app"
        [[route]]
        name = "host"
        host = "admin.example"
        allow = [{{ realm = "ops" }}]
        upstream = "app"
        [[route]]
        name = "all"
        path = "/"
        allow = "authenticated"
        upstream = "app"
        [upstream.app]
        peers = ["{upstream}"]
        "#
    )
}

/// The same routes, with an audit log.
pub(crate) fn audited_routes(log: &Path, more: &str, upstream: SocketAddr) -> String {
    format!(
        "[audit]\nfile = \"{}\"\n{more}\n{}",
        log.display(),
        routes(upstream)
    )
}

/// The same routes without an upstream, for forward-auth only.
pub(crate) fn policies() -> String {
    let routes = routes(NOWHERE);
    let (routes, _) = routes.split_once("[upstream.app]").unwrap();
    routes.replace("upstream = \"app\"", "")
}
