//! The container image: built by buildah from files of this machine, and run without a registry or a daemon.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{get, stderr, stdout, until};

/// The user of the image.
const USER: u32 = 65532;

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/setup test"));
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{command:?}: {text}");
    output
}

/// The image of the tested binary, and a store of buildah for one container.
struct Image {
    folder: TempDir,
    archives: Vec<PathBuf>,
}

impl Image {
    fn build() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests mount a root file system and change owners: run them as root"
        );
        let folder = tempfile::tempdir().unwrap();
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(project.join("scripts/image"));
        command
            .arg(env!("CARGO_BIN_EXE_realmgate"))
            .arg(folder.path());
        let built = stdout(&run(&mut command));
        let archives = built.lines().map(PathBuf::from).collect();
        Self { folder, archives }
    }

    fn archive(&self, format: &str) -> &Path {
        let ending = format!(".{format}.tar");
        let mut all = self.archives.iter();
        let found = all.find(|it| it.to_str().unwrap().ends_with(&ending));
        found.unwrap()
    }

    fn buildah(&self, args: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        let store = self.folder.path().join("store");
        let state = self.folder.path().join("run");
        command.arg("--root").arg(store).arg("--runroot").arg(state);
        command.args(["--storage-driver", "vfs"]).args(args);
        command
    }

    /// Makes a container, and returns its name.
    fn container(&self, format: &str) -> String {
        let from = format!("{format}-archive:{}", self.archive(format).display());
        let output = run(&mut self.buildah(&["from", "--quiet", &from]));
        stdout(&output).trim().to_owned()
    }

    /// Returns a command of the image in a container, with `data` as its volume.
    fn realmgate(&self, container: &str, data: &Path, args: &[&str]) -> Command {
        let volume = format!("{}:/var/lib/realmgate", data.display());
        let mut command = self.buildah(&["run", "--isolation", "chroot", "--volume", &volume]);
        for listener in ["SERVICE", "GATEWAY", "METRICS"] {
            command.args(["--env", &format!("REALMGATE_{listener}_LISTEN=127.0.0.1:0")]);
        }
        command
            .args([container, "--", "/usr/local/bin/realmgate"])
            .args(args);
        command
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.buildah(&["rm", "--all"]).output();
    }
}

/// Returns every file below a directory.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            files(&path, found);
        }
        found.push(path);
    }
}

fn terminate(child: &mut Child, pid: u64) {
    let status = Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(status.success());
    child.wait().unwrap();
}

#[test]
fn image_runs_as_its_user_and_is_healthy() {
    let image = Image::build();
    let container = image.container("docker");
    let data = image.folder.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(USER), Some(USER)).unwrap();

    let created = run(&mut image.realmgate(&container, &data, &["init", "--json"]));
    assert!(stdout(&created).contains("ungleich-admin"));
    let ready = "/var/lib/realmgate/ready.json";
    let mut serving = image
        .realmgate(&container, &data, &["serve", "--ready-file", ready])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it serves", || data.join("ready.json").exists());
    let text = fs::read(data.join("ready.json")).unwrap();
    let addresses: Value = serde_json::from_slice(&text).unwrap();
    let pid = addresses["pid"].as_u64().unwrap();
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    let service = addresses["service"].as_str().unwrap().parse().unwrap();
    let reply = get(service, "/readyz", "");
    let healthy = image
        .realmgate(&container, &data, &["healthcheck", "--ready-file", ready])
        .output()
        .unwrap();
    terminate(&mut serving, pid);
    assert_eq!(owner, USER);
    assert_eq!((reply.status, &*reply.body), (200, "ready\n"));
    assert!(healthy.status.success(), "{}", stderr(&healthy));
    let database = fs::metadata(data.join("realmgate.db")).unwrap();
    assert_eq!(database.uid(), USER);
    // Stopped: the health check fails.
    let mut command = image.realmgate(&container, &data, &["healthcheck", "--ready-file", ready]);
    assert!(!command.status().unwrap().success());
}

#[test]
fn image_holds_the_binary_its_libraries_and_certificates_and_nothing_that_its_user_may_change() {
    let image = Image::build();
    let container = image.container("oci");
    let root = stdout(&run(&mut image.buildah(&["mount", &container])));
    let root = Path::new(root.trim());
    let mut all = Vec::new();
    files(root, &mut all);
    let inside = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    let mut owned = Vec::new();
    for path in &all {
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.permissions().mode();
        if metadata.uid() == USER {
            owned.push(inside(path));
        } else {
            assert_eq!(metadata.uid(), 0, "{path:?}");
            assert!(
                mode & 0o002 == 0 || inside(path) == "tmp",
                "{path:?} {mode:o}"
            );
        }
        assert_eq!(mode & 0o6000, 0, "{path:?} {mode:o}");
    }
    assert_eq!(owned, ["var/lib/realmgate"]);
    let names: Vec<String> = all.iter().map(inside).collect();
    for name in [
        "usr/local/bin/realmgate",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/passwd",
    ] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    for library in ["libc.so.6", "libgcc_s.so.1", "libnss_dns.so.2"] {
        assert!(
            names.iter().any(|it| it.ends_with(library)),
            "{library}: {names:?}"
        );
    }
    assert!(!names.iter().any(|it| it.ends_with("/sh")), "{names:?}");
    assert!(all.len() < 40, "{names:?}");
    // Compressed, as it is stored and sent. The tested binary is larger than a release.
    let size = fs::metadata(image.archive("oci")).unwrap().len();
    assert!(size <= 40 << 20, "{size}");
}

#[test]
fn image_has_the_settings_of_the_dockerfile() {
    let image = Image::build();
    for format in ["oci", "docker"] {
        let container = image.container(format);
        let inspected = run(&mut image.buildah(&["inspect", &container]));
        let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
        let config = &inspected["Docker"]["config"];
        assert_eq!(config["User"], "65532:65532");
        assert_eq!(config["Entrypoint"][0], "/usr/local/bin/realmgate");
        assert_eq!(config["Cmd"][0], "serve");
        assert_eq!(config["WorkingDir"], "/var/lib/realmgate");
        assert!(config["Volumes"]["/var/lib/realmgate"].is_object());
        assert!(config["ExposedPorts"]["8081/tcp"].is_object());
        // The OCI format has none.
        if format == "docker" {
            let test = serde_json::json!(["CMD", "/usr/local/bin/realmgate", "healthcheck"]);
            assert_eq!(config["Healthcheck"]["Test"], test);
        }
    }
}
