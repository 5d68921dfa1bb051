//! The Debian package.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::{stderr, stdout};

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/setup test"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        stdout(&output),
        stderr(&output)
    );
    output
}

/// Builds a package of the tested binary, and returns its path.
fn build(folder: &Path) -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(project.join("scripts/deb"));
    command.arg(env!("CARGO_BIN_EXE_realmgate")).arg(folder);
    // The binary of the tests is large, and its compression takes long.
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
    command.env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    stdout(&run(&mut command)).trim().to_owned()
}

#[test]
fn lintian_finds_nothing_in_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    let mut command = Command::new("lintian");
    command.args(["--fail-on", "error,warning", "--allow-root", &package]);
    let output = run(&mut command);
    assert_eq!(stdout(&output), "");
    let contents = stdout(&run(Command::new("dpkg-deb").args(["--contents", &package])));
    let root = contents.lines().next().unwrap();
    assert!(root.starts_with("drwxr-xr-x root/root "), "{root}");
}

/// A directory into which dpkg installs, as if it were the root. Maintainer scripts run, and see it in `DPKG_ROOT`.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let database = root.path().join("var/lib/dpkg");
        fs::create_dir_all(database.join("updates")).unwrap();
        fs::create_dir_all(database.join("info")).unwrap();
        fs::write(database.join("status"), "").unwrap();
        Self(root)
    }

    fn dpkg(&self, args: &[&str]) {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", self.0.path().display()));
        command.args([
            "--force-script-chrootless",
            "--force-depends",
            "--force-not-root",
        ]);
        run(command.args(args));
    }

    fn has(&self, path: &str) -> bool {
        self.0.path().join(path).exists()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn package_installs_upgrades_removes_and_purges() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    let root = Root::new();
    root.dpkg(&["--install", &package]);
    for path in [
        "usr/bin/realmgate",
        "usr/lib/systemd/system/realmgate.service",
        "usr/lib/systemd/system/realmgate-service.socket",
        "usr/lib/systemd/system/realmgate-admin.socket",
        "etc/realmgate/realmgate.toml",
        "usr/share/man/man1/realmgate.1.gz",
        "usr/share/man/man1/realmgate-identity-create.1.gz",
        "usr/share/bash-completion/completions/realmgate",
        "usr/share/zsh/vendor-completions/_realmgate",
        "usr/share/fish/vendor_completions.d/realmgate.fish",
        "usr/share/doc/realmgate/examples/nginx/realmgate.conf",
        "var/lib/realmgate",
    ] {
        assert!(root.has(path), "{path}");
    }
    // The unit starts the binary of the package, which runs, and takes the file of the package.
    let unit = root
        .0
        .path()
        .join("usr/lib/systemd/system/realmgate.service");
    let unit = fs::read_to_string(unit).unwrap();
    assert!(
        unit.contains(
            "\nExecStart=/usr/bin/realmgate serve --config /etc/realmgate/realmgate.toml\n"
        )
    );
    let mut command = Command::new(root.0.path().join("usr/bin/realmgate"));
    command.arg("check").arg("--config");
    run(command.arg(root.0.path().join("etc/realmgate/realmgate.toml")));

    // Changes by an administrator survive an upgrade, and files of the service survive a removal.
    root.write("etc/realmgate/realmgate.toml", "# mine\n");
    root.write("etc/realmgate/realmgate.key", "key");
    root.write("var/lib/private/realmgate/realmgate.db", "database");
    root.dpkg(&["--force-confold", "--install", &package]);
    let config = root.0.path().join("etc/realmgate/realmgate.toml");
    assert_eq!(fs::read_to_string(config).unwrap(), "# mine\n");
    root.dpkg(&["--remove", "realmgate"]);
    assert!(!root.has("usr/bin/realmgate"));
    for path in [
        "etc/realmgate/realmgate.toml",
        "etc/realmgate/realmgate.key",
        "var/lib/private/realmgate/realmgate.db",
    ] {
        assert!(root.has(path), "{path}");
    }
    root.dpkg(&["--purge", "realmgate"]);
    for path in [
        "etc/realmgate",
        "var/lib/private/realmgate",
        "usr/share/doc/realmgate",
    ] {
        assert!(!root.has(path), "{path}");
    }
}
