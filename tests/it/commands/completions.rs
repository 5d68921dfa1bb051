//! Shell completions and manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{realmgate, stderr, stdout};

fn script(shell: &str) -> String {
    let output = realmgate(&["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn commands() -> Vec<String> {
    let command = realmgate::cli::command();
    let names = command.get_subcommands().map(|it| it.get_name().to_owned());
    names.collect()
}

/// Returns the completions that bash offers for words, the last of which is incomplete.
fn completed(words: &[&str]) -> Vec<String> {
    let mut bash = Command::new("bash")
        .args(["--norc", "-s"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let last = "\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                _realmgate realmgate \"${!#}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut stdin = bash.stdin.take().unwrap();
    stdin.write_all((script("bash") + last).as_bytes()).unwrap();
    drop(stdin);
    let output = bash.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_actions_and_options() {
    let offered = completed(&["realmgate", ""]);
    for command in commands() {
        assert!(offered.contains(&command), "{command}: {offered:?}");
    }
    assert_eq!(completed(&["realmgate", "heal"]), ["healthcheck"]);
    assert_eq!(completed(&["realmgate", "identity", "rot"]), ["rotate"]);
    assert_eq!(
        completed(&["realmgate", "reload", "--read"]),
        ["--ready-file"]
    );
    let shells = completed(&["realmgate", "completions", ""]);
    assert!(shells.contains(&"zsh".to_owned()), "{shells:?}");
}

#[test]
fn every_shell_has_a_script_with_every_command() {
    for (shell, start) in [
        ("bash", "_realmgate()"),
        ("zsh", "#compdef realmgate"),
        ("fish", "# Print an optspec"),
        ("elvish", "\nuse builtin"),
        ("powershell", "\nusing namespace"),
    ] {
        let script = script(shell);
        let first: String = script.chars().take(40).collect();
        assert!(script.starts_with(start), "{shell}: {first}");
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
    let output = realmgate(&["completions", "tcsh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let output = realmgate(&["man", path]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let pages: BTreeSet<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(pages.contains("realmgate.1") && pages.contains("realmgate-identity-create.1"));
    for command in commands() {
        assert!(
            pages.contains(&format!("realmgate-{command}.1")),
            "{command}"
        );
    }
    let page = fs::read_to_string(folder.path().join("realmgate-healthcheck.1")).unwrap();
    assert!(page.contains("\\-\\-ready\\-file"), "{page}");
    let file = folder.path().join("realmgate.1");
    let output = realmgate(&["man", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}
