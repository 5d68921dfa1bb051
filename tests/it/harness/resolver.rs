//! A resolver that replaces the system's and returns what a test specifies.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::realmgate;

/// The names and their addresses.
pub(crate) struct Resolver {
    folder: TempDir,
}

impl Resolver {
    /// Takes a line per name: its addresses, `none`, or `wait` for no response.
    pub(crate) fn new(lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/resolver.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(folder.path().join("resolver.so"))
            .args([source, "-ldl"])
            .status();
        assert!(status.unwrap().success());
        let resolver = Self { folder };
        resolver.say(lines);
        resolver
    }

    /// Replaces the lines.
    pub(crate) fn say(&self, lines: &[&str]) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("{}\n", lines.join("\n"))).unwrap();
        fs::rename(draft, self.hosts()).unwrap();
    }

    /// Returns a command that runs realmgate with this resolver.
    pub(crate) fn realmgate(&self, args: &[&str]) -> Command {
        let mut command = realmgate(args);
        command
            .env("LD_PRELOAD", self.folder.path().join("resolver.so"))
            .env("FAKE_HOSTS", self.hosts());
        command
    }

    fn hosts(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }
}
