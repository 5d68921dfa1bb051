//! Starts the binary on ports of the kernel's choice and speaks to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use realmgate::auth::{Parameters, Seed, Totp, UnixTime};
use tempfile::TempDir;

/// The longest wait for anything: generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the binary with the arguments, and an environment without our variables.
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

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Somebody with a seed.
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

    pub(crate) fn wrong_token(&self) -> String {
        let totp = self.totp();
        (0..)
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

/// A running realmgate with a folder of its own. Killed and removed when dropped.
pub(crate) struct Gate {
    pub(crate) service: SocketAddr,
    pub(crate) gateway: SocketAddr,
    /// Where Envoy asks over gRPC, if it is configured.
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) child: Child,
    folder: TempDir,
}

impl Gate {
    /// Starts it with both listeners on port 0, the store in its folder, and `more` configuration.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_with(&[], more)
    }

    /// The same, with settings from the environment.
    pub(crate) fn start_with(environment: &[(&str, &str)], more: &str) -> Self {
        let mut command = realmgate(&[]);
        command.envs(environment.iter().copied());
        Self::start_as(command, more)
    }

    /// The same, of a command that is realmgate.
    pub(crate) fn start_as(command: Command, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("realmgate.toml");
        fs::write(&config, configuration(folder.path(), more)).unwrap();
        Self::start_in(folder, command)
    }

    /// Kills it, without a chance to say anything, and starts it again on what it leaves.
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

    /// The same, in a folder that holds a configuration.
    pub(crate) fn start_in(folder: TempDir, mut command: Command) -> Self {
        let config = folder.path().join("realmgate.toml");
        let ready = folder.path().join("ready.json");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = command
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--ready-file")
            .arg(&ready)
            .stderr(log)
            .spawn()
            .unwrap();
        until("ready file", || {
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
            gateway: address("gateway"),
            grpc: addresses.get("grpc").map(|_| address("grpc")),
            child,
            folder,
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("realmgate.toml")
    }

    /// Returns its log. A thread of its own writes that: what was said is there once nothing more comes.
    pub(crate) fn log(&self) -> String {
        let read = || fs::read_to_string(self.folder.path().join("log")).unwrap();
        let mut log = read();
        loop {
            thread::sleep(Duration::from_millis(20));
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

    /// Registers an identity by the command line, while the server runs.
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

    /// Returns the id of the process that serves, which is another one once it has been replaced.
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
    format!(
        "[store]\nurl = \"sqlite:{}\"\n[service]\nlisten = \"127.0.0.1:0\"\n\
         [gateway]\nlisten = \"127.0.0.1:0\"\n{more}",
        folder.join("realmgate.db").display()
    )
}

/// Routes to one upstream: `/public` for anyone, `/ops` for realm `ops`, all else authenticated.
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

/// An upstream that keeps what it saw, and answers with it.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        Self::start_slow(Duration::ZERO)
    }

    /// Starts one that waits before each answer.
    pub(crate) fn start_slow(delay: Duration) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), delay)
    }

    /// Starts one at a reserved address.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::serve(TcpListener::bind(address).unwrap(), Duration::ZERO)
    }

    fn serve(listener: TcpListener, delay: Duration) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let keep = Arc::clone(&keep);
                thread::spawn(move || answer_all(stream.unwrap(), &keep, delay));
            }
        });
        Self { address, seen }
    }

    /// Returns every request so far: head and body as text.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer_all(mut stream: TcpStream, keep: &Mutex<Vec<String>>, delay: Duration) {
    while let Some(request) = read_message(&mut stream) {
        keep.lock().unwrap().push(request.clone());
        thread::sleep(delay);
        if field(&request, "Upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
            return echo(&mut stream);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            request.len()
        );
        if stream
            .write_all(format!("{head}{request}").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

/// Goes over to a protocol in which every byte comes back; agrees to RFC 6455's sample key.
fn echo(stream: &mut TcpStream) {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut buffer = [0; 4096];
    let mut outcome = stream.write_all(switch.as_bytes());
    while let (Ok(()), Ok(read @ 1..)) = (outcome, stream.read(&mut buffer)) {
        outcome = stream.write_all(&buffer[..read]);
    }
}

/// Reads one message with `Content-Length` or chunked body, or none at the end of the stream.
pub(crate) fn read_message(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        read_some(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    if text.contains("transfer-encoding: chunked") {
        while !is_whole_in_chunks(&bytes[head..]) {
            read_some(stream, &mut bytes)?;
        }
    } else {
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        while bytes.len() < head + length {
            read_some(stream, &mut bytes)?;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Says whether a body has all its chunks, perhaps trailers, and the empty line (RFC 9112 §7.1).
fn is_whole_in_chunks(mut body: &[u8]) -> bool {
    while let Some(end) = body.windows(2).position(|it| it == b"\r\n") {
        let size = str::from_utf8(&body[..end]).unwrap();
        let size = size.split(';').next().unwrap().trim();
        match usize::from_str_radix(size, 16).unwrap() {
            0 => return body.ends_with(b"\r\n\r\n"),
            size => match body.get(end + 2 + size + 2..) {
                Some(rest) => body = rest,
                None => return false,
            },
        }
    }
    false
}

fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(n) => {
            bytes.extend_from_slice(&buffer[..n]);
            Some(())
        }
    }
}

/// An answer off the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Returns the value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// Returns the value of a field in a message's head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let head = head.split("\r\n\r\n").next().unwrap();
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Sends bytes as they are and reads until the other side closes.
pub(crate) fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

pub(crate) fn parse(bytes: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Sends a GET with these header lines (each ended by CRLF) and closes.
pub(crate) fn get(address: SocketAddr, path: &str, fields: &str) -> Reply {
    send(address, "GET", path, fields, "")
}

pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &str,
    body: &str,
) -> Reply {
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}{length}\r\n{body}"
    );
    raw(address, request.as_bytes())
}
