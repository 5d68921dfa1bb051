//! `scripts/release`, with programs in place of cargo, rustc, `scripts/train` and llvm-profdata that record what they
//! are given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::harness::stderr;

const MINUTE: Duration = Duration::from_secs(60);

/// Makes a binary in the directory that it is given, unless one with the same flags is there already.
const CARGO: &str = r#"#!/bin/sh
case $RUSTFLAGS in
*profile-generate*) kind=instrumented ;;
*profile-use*) kind=optimized ;;
*) kind=plain ;;
esac
folder=target
while [ $# -gt 0 ]; do
    [ "$1" != --target-dir ] || folder=$2
    shift
done
folder=$folder/host/release
mkdir -p "$folder"
if [ "$(cat "$folder/realmgate" 2>&1)" = "$kind" ]; then
    echo "kept $kind" >>"$FAKE/calls"
else
    echo "$kind" >>"$FAKE/calls"
    echo "$kind" >"$folder/realmgate"
    touch -d '1 minute ago' "$folder/realmgate"
fi
"#;
const RUSTC: &str = r#"#!/bin/sh
case $* in
-vV) printf 'host: host\nLLVM version: 99.1.2\n' ;;
*) echo "$FAKE/lib" ;;
esac
"#;
const TRAIN: &str = r#"#!/bin/sh
echo "train $(cat "$1")" >>"$FAKE/calls"
echo counts >"$2/1.profraw"
"#;
const PROFDATA: &str = r#"#!/bin/sh
cat "$4"/*.profraw >"$3"
"#;

/// A copy of the script in a tree of its own.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release");
        tree.program("tree/scripts/release", &fs::read_to_string(script).unwrap());
        tree.program("tree/scripts/train", TRAIN);
        tree.touch("tree/scripts/train", SystemTime::now() - MINUTE);
        tree.program("cargo", CARGO);
        tree.program("rustc", RUSTC);
        fs::create_dir(tree.path("lib")).unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn touch(&self, name: &str, modified: SystemTime) {
        let file = fs::File::options().append(true).open(self.path(name));
        file.unwrap().set_modified(modified).unwrap();
    }

    fn with_profdata(self) -> Self {
        self.program("bin/llvm-profdata", PROFDATA);
        self
    }

    fn run(&self, profile: &str) -> Output {
        let others = std::env::var("PATH").unwrap();
        Command::new(self.path("tree/scripts/release"))
            .arg(profile)
            .current_dir(self.path("tree"))
            .env("PATH", format!("{}:{others}", self.0.path().display()))
            .env("FAKE", self.0.path())
            .output()
            .unwrap()
    }

    /// Builds a release. Returns its content, and the calls of programs so far.
    fn build(&self, profile: &str) -> (String, Vec<String>) {
        let output = self.run(profile);
        assert!(output.status.success(), "{}", stderr(&output));
        let built = fs::read_to_string(self.path("tree/target/release/realmgate")).unwrap();
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        let calls = calls.lines().map(str::to_owned).collect();
        (built.trim_end().to_owned(), calls)
    }
}

#[test]
fn release_is_built_with_the_counts_of_the_instrumented_binary() {
    let tree = Tree::new().with_profdata();
    let (built, calls) = tree.build("train");
    assert_eq!(built, "optimized");
    assert_eq!(calls, ["instrumented", "train instrumented", "optimized"]);
    let kept = fs::read_to_string(tree.path("tree/target/release/realmgate.profdata")).unwrap();
    assert_eq!(kept, "counts\n");
}

#[test]
fn training_is_repeated_for_another_binary_only() {
    let tree = Tree::new().with_profdata();
    tree.build("train");
    let (_, calls) = tree.build("train");
    assert_eq!(calls[3..], ["kept instrumented", "kept optimized"]);
    // As after a change of the program.
    let instrumented = "tree/target/training/host/release/realmgate";
    tree.touch(instrumented, SystemTime::now() + MINUTE);
    let (_, calls) = tree.build("train");
    assert_eq!(
        calls[5..],
        ["kept instrumented", "train instrumented", "kept optimized"]
    );
}

#[test]
fn kept_profile_needs_no_training_and_no_profile_needs_no_tool() {
    let tree = Tree::new();
    assert_eq!(tree.build("none"), ("plain".into(), vec!["plain".into()]));
    fs::write(tree.path("tree/kept.profdata"), "kept").unwrap();
    let (built, calls) = tree.build("kept.profdata");
    assert_eq!(built, "optimized");
    assert_eq!(calls[1..], ["optimized"]);
    let used = fs::read_to_string(tree.path("tree/target/release/realmgate.profdata")).unwrap();
    assert_eq!(used, "kept");
}

#[test]
fn training_without_the_tool_of_this_compiler_fails_before_anything_is_built() {
    let tree = Tree::new();
    let output = tree.run("train");
    assert!(!output.status.success());
    let told = stderr(&output);
    assert!(
        told.contains("llvm-profdata of LLVM 99 is missing"),
        "{told}"
    );
    assert!(!tree.path("calls").exists());
}
