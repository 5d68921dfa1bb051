//! A real PostgreSQL in a directory of its own.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::harness::port::Port;
use crate::harness::{stderr, stdout, until};

/// The users that the server accepts: `django` without a password, `otp`, over TCP with a
/// password only, and `cert`, over TLS with a client certificate only.
const ACCESS: &str = "local all all trust
hostssl all cert 127.0.0.1/32 cert
host all cert 127.0.0.1/32 reject
host all otp 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
";

/// Ends a server and removes its folder when its standard input is closed, which also happens if
/// the test process is killed.
const SUPERVISOR: &str =
    r#"folder=$1; shift; "$@" & read -r _; kill -INT $!; wait $!; rm -rf "$folder""#;

/// The shared server of tests that need one schema each.
static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);

/// Returns whether the tests keep identities in PostgreSQL. `make test` runs them so after SQLite.
pub(crate) fn is_store() -> bool {
    std::env::var_os("TEST_STORE").is_some_and(|it| it == "postgres")
}

/// Returns the URL of the shared server, and a new schema name.
pub(crate) fn new_schema() -> (String, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    (SHARED.url(), format!("r{number}"))
}

/// Runs a statement in the schema of a configuration from [`new_schema`]. Returns its output.
pub(crate) fn sql_in(config: &Path, sql: &str) -> String {
    let text = fs::read_to_string(config).unwrap();
    let schema = text.split("schema = \"").nth(1).unwrap();
    let schema = schema.split('"').next().unwrap();
    sql_in_schema(schema, sql)
}

/// Runs statements in a schema of the shared server.
pub(crate) fn sql_in_schema(schema: &str, sql: &str) -> String {
    let output = SHARED.psql(&format!("SET search_path TO {schema}; {sql}"));
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// A running server. Ends when dropped, or with the test process.
pub(crate) struct Postgres {
    port: u16,
    options: Vec<String>,
    environment: Environment,
    /// The last one runs it. The ones before ran it until it was killed.
    children: Vec<Child>,
    folder: TempDir,
    _reserved: Port,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_with(&[], Environment::new())
    }

    /// Starts a server with environment variables, such as those of a library that is loaded first.
    pub(crate) fn start_in(environment: Environment) -> Self {
        Self::start_with(&[], environment)
    }

    /// Starts a server that also accepts TLS, with the paths of a certificate, its key, and the
    /// authority of client certificates.
    pub(crate) fn start_with_tls(cert: &str, key: &str, clients: &str) -> Self {
        let files = [
            ("server.crt", cert),
            ("server.key", key),
            ("root.crt", clients),
        ];
        Self::start_with(&files, Environment::new())
    }

    /// Starts a server with files in its folder; with TLS if there are any.
    fn start_with(files: &[(&str, &str)], environment: Environment) -> Self {
        let folder = new_folder();
        let data = folder.path().join("data");
        let output = program("initdb")
            .args([
                "--auth=trust",
                "--username=django",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        for (name, from) in files {
            fs::copy(from, data.join(name)).unwrap();
            if is_root() {
                let (user, group) = nobody();
                chown(data.join(name), Some(user), Some(group)).unwrap();
            }
        }
        let tls: &[&str] = match files {
            [] => &["ssl=off"],
            _ => &["ssl=on", "ssl_ca_file=root.crt"],
        };
        let options = tls.iter().flat_map(|option| ["-c", option]);
        let options = options.map(str::to_owned).collect();
        let server = Self::run(folder, options, environment);
        until("PostgreSQL answers", || {
            TcpStream::connect(("127.0.0.1", server.port)).is_ok()
                && server.psql("SELECT 1").status.success()
        });
        server
    }

    /// Starts a standby that follows this server, with the same environment variables.
    pub(crate) fn standby(&self) -> Self {
        let folder = new_folder();
        let output = program("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--wal-method=stream", "-d", &self.url(), "-D"])
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let standby = Self::run(folder, Vec::new(), self.environment.clone());
        until("the standby answers", || {
            let asked = standby.psql("SELECT pg_is_in_recovery()");
            stdout(&asked).trim() == "t"
        });
        standby
    }

    fn run(folder: TempDir, options: Vec<String>, environment: Environment) -> Self {
        let reserved = Port::reserve();
        let mut server = Self {
            port: reserved.address.port(),
            options,
            environment,
            children: Vec::new(),
            folder,
            _reserved: reserved,
        };
        server.spawn();
        server
    }

    fn spawn(&mut self) {
        let folder = self.folder.path();
        let postgres = program("postgres");
        let child = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(folder)
            .arg(postgres.get_program())
            .args(postgres.get_args())
            .arg("-D")
            .arg(folder.join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "max_connections=500", "-c", "shared_buffers=64MB"])
            .args(&self.options)
            .args(["-p", &self.port.to_string()])
            .arg("-k")
            .arg(folder)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
    }

    /// Starts it again after [`Postgres::kill`], or after it has ended, on the same port, as what
    /// it was.
    pub(crate) fn restart(&mut self) {
        let data = self.folder.path().join("data");
        until("its processes have ended", || self.processes().is_empty());
        // They name the killed process, which the shell has not reaped.
        let socket = format!(".s.PGSQL.{}.lock", self.port);
        for lock in [data.join("postmaster.pid"), self.folder.path().join(socket)] {
            let _ = fs::remove_file(lock);
        }
        self.spawn();
        until("it answers again", || self.answers());
    }

    /// Returns the IDs of its processes.
    fn processes(&self) -> Vec<String> {
        let data = self.folder.path().join("data");
        let is_there = |process: &fs::DirEntry| {
            let folder = fs::read_link(process.path().join("cwd"));
            folder.is_ok_and(|folder| folder == data)
        };
        let processes = fs::read_dir("/proc").unwrap().flatten().filter(is_there);
        let names = processes.map(|process| process.file_name());
        names.map(|it| it.into_string().unwrap()).collect()
    }

    /// Whether all of its processes have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.processes().is_empty()
    }

    /// Stops its processes. Its connections stay open and its port accepts more, but nothing
    /// responds.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Continues its processes.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        // Some may have ended meanwhile.
        let mut kill = Command::new("kill");
        kill.args(["-s", name]).args(self.processes());
        let _ = kill.stderr(Stdio::null()).status();
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        let pid = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap();
        let killed = Command::new("kill").args(["-s", "KILL", pid]).status();
        assert!(killed.unwrap().success());
    }

    pub(crate) fn answers(&self) -> bool {
        self.psql("SELECT 1").status.success()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Runs a statement. Returns its output.
    pub(crate) fn query(&self, sql: &str) -> String {
        let output = self.psql(sql);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    /// Returns whether it has as many identities. A standby may not even have the table yet.
    pub(crate) fn has_identities(&self, count: u32) -> bool {
        let output = self.psql("SELECT count(*) FROM identity");
        output.status.success() && stdout(&output).trim() == count.to_string()
    }

    /// The same for a statement that may fail. Returns its error.
    pub(crate) fn try_query(&self, sql: &str) -> Result<String, String> {
        let output = self.psql(sql);
        match output.status.success() {
            true => Ok(stdout(&output).trim().to_owned()),
            false => Err(stderr(&output)),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("django")
    }

    /// Returns the URL for a user, or for a user and a password separated by a colon.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the URL for the Unix socket.
    pub(crate) fn socket_url(&self) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://django@{folder}:{}/postgres", self.port)
    }

    pub(crate) fn sql(&self, sql: &str) {
        let output = self.psql(sql);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn psql(&self, sql: &str) -> Output {
        program("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                &self.url(),
            ])
            .args(["--command", sql])
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        while let Some(mut child) = self.children.pop() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Makes a folder that the server may write to.
fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if is_root() {
        // PostgreSQL refuses to run as root.
        let (user, group) = nobody();
        chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

/// Returns a program of the newest PostgreSQL of Debian. As root, it runs as nobody.
pub(crate) fn program(name: &str) -> Command {
    let root = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<PathBuf> = fs::read_dir(root)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup test", root.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.sort();
    // A path stays what it is.
    let program = versions.last().unwrap().join("bin").join(name);
    if !is_root() {
        return Command::new(program);
    }
    let (user, group) = nobody();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--clear-groups",
            "--reuid",
            &user.to_string(),
            "--regid",
            &group.to_string(),
        ])
        .arg(program);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Returns user and group `nobody`.
fn nobody() -> (u32, u32) {
    (65534, 65534)
}
