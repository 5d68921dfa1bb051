//! The start of the process, and what it waits for.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::harness::{PATIENCE, configuration, realmgate, stderr, until};

/// Does not wait for a reader (`O_NONBLOCK`).
const NO_WAIT: i32 = 0o4000;

/// A server that reads its configuration from a pipe, and therefore waits until it is written.
struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("realmgate.toml");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let child = realmgate(&["serve", "--init", "--config"])
            .arg(&pipe)
            .arg("--ready-file")
            .arg(folder.path().join("ready.json"))
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until the server opens the configuration. Returns the pipe to write to.
    fn asked(&mut self) -> File {
        let pipe = self.folder.path().join("realmgate.toml");
        let mut options = File::options();
        let options = options.write(true).custom_flags(NO_WAIT);
        let mut asked = None;
        until("somebody reads the configuration", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.log());
            asked = options.open(&pipe).ok();
            asked.is_some()
        });
        asked.unwrap()
    }

    /// The server has opened the pipe, and does not open it again.
    fn put_a_file_in_place_of_the_pipe(&self) {
        let file = self.folder.path().join("file.toml");
        fs::write(&file, configuration(self.folder.path(), "")).unwrap();
        fs::rename(file, self.folder.path().join("realmgate.toml")).unwrap();
    }

    fn answer(&self, mut asked: File) {
        let text = configuration(self.folder.path(), "");
        asked.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let ready = fs::read_to_string(self.folder.path().join("ready.json"));
        let ready: serde_json::Value =
            serde_json::from_str(&ready.unwrap_or_default()).unwrap_or_default();
        if let Some(pid) = ready["pid"].as_u64() {
            let mut kill = Command::new("kill");
            let _ = kill.arg(pid.to_string()).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn signals_before_the_configuration_is_read_count_once_it_serves() {
    for (signal, expected) in [("HUP", "reloaded"), ("USR2", "replaced")] {
        let mut server = Server::start();
        let asked = server.asked();
        let pid = server.child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-s", signal, &pid]).status().unwrap().success());
        // It, or the process that replaces it, reads the configuration again: a file this time.
        server.put_a_file_in_place_of_the_pipe();
        server.answer(asked);
        until(expected, || server.log().contains(expected));
        let log = server.log();
        assert!(log.find("listening") < log.find(expected), "{log}");
        assert!(
            !log.contains("not reloaded") && !log.contains("not replaced"),
            "{log}"
        );
    }
}

/// Makes a directory with a database, and locks it.
fn locked() -> (TempDir, File) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, configuration(folder.path(), "")).unwrap();
    let made = realmgate(&["init", "--config"]).arg(&config).output();
    assert!(made.unwrap().status.success());
    let lock = File::open(folder.path()).unwrap();
    lock.lock().unwrap();
    (folder, lock)
}

fn with_config(command: &[&str], folder: &Path) -> Command {
    let mut command = realmgate(command);
    command.arg("--config").arg(folder.join("realmgate.toml"));
    command
}

#[test]
fn folder_that_stays_locked_is_code_3_and_its_holder_is_named() {
    let (folder, _lock) = locked();
    let began = Instant::now();
    let command = ["identity", "create", "billing@payments"];
    let output = with_config(&command, folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let holder = format!("process {} holds the lock", std::process::id());
    assert!(stderr(&output).contains(&holder), "{}", stderr(&output));
    assert!(began.elapsed() < 2 * PATIENCE);
}

#[test]
fn server_waiting_for_a_locked_directory_handles_signals() {
    let (folder, lock) = locked();
    let log = folder.path().join("log");
    let mut server = with_config(&["serve"], folder.path())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    until("it waits", || {
        fs::read_to_string(&log)
            .unwrap()
            .contains("waiting for the lock")
    });
    let mut kill = Command::new("kill");
    assert!(
        kill.arg(server.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    until("the end", || server.try_wait().unwrap().is_some());
    assert!(server.wait().unwrap().success());
    drop(lock);
}

#[test]
fn limit_on_the_size_of_files_is_an_error_and_not_the_end_by_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, configuration(folder.path(), "")).unwrap();
    let output = Command::new("bash")
        .args(["-c", "ulimit -f 8; exec \"$@\"", "bash"])
        .arg(realmgate(&[]).get_program())
        .args(["init", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}
