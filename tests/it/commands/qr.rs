//! The QR code of a new identity, read from a picture of the terminal's cells.

use std::fs;
use std::process::Command;

use crate::harness::{configuration, realmgate, stderr};

/// A shade of gray, 0 for black.
type Shade = u8;

/// Draws what a program wrote to a terminal: two pixels a cell, one above the other. `colors` are those of the
/// terminal: foreground and background.
fn picture(output: &str, colors: (Shade, Shade)) -> Vec<Vec<Shade>> {
    let mut rows = Vec::new();
    let (mut front, mut back) = colors;
    for line in output.lines() {
        let (mut above, mut below) = (Vec::new(), Vec::new());
        let mut rest = line.trim_end_matches('\r').chars();
        while let Some(cell) = rest.next() {
            if cell == '\u{1b}' {
                let code: String = rest.by_ref().skip(1).take_while(|c| *c != 'm').collect();
                match code.as_str() {
                    "38;5;16" => front = 0,
                    "48;5;231" => back = 255,
                    "0" | "" => (front, back) = colors,
                    other => panic!("what is {other:?}?"),
                }
                continue;
            }
            let (upper, lower) = match cell {
                '█' => (front, front),
                '▀' => (front, back),
                '▄' => (back, front),
                _ => (back, back),
            };
            above.push(upper);
            below.push(lower);
        }
        rows.extend([above, below]);
    }
    rows
}

/// Reads the QR code in a picture, whose rows may differ in length.
fn read(rows: &[Vec<Shade>], background: Shade) -> Option<String> {
    const SCALE: usize = 4;
    let width = rows.iter().map(Vec::len).max()?;
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, rows.len() * SCALE, |x, y| {
            let row = rows.get(y / SCALE);
            row.and_then(|row| row.get(x / SCALE))
                .copied()
                .unwrap_or(background)
        });
    let grids = image.detect_grids();
    let (_, text) = grids.first()?.decode().ok()?;
    Some(text)
}

#[test]
fn qr_code_can_be_read_on_dark_and_on_light_terminals() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, configuration(folder.path(), "")).unwrap();
    let init = realmgate(&["init", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", stderr(&init));
    let config = config.display();
    let command = format!(
        "{} identity create svc@payments --config {config}",
        env!("CARGO_BIN_EXE_realmgate"),
    );
    // With a terminal of its own.
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let uri = output
        .lines()
        .find_map(|line| Some(line.get(line.find("otpauth://")?..)?.trim().to_owned()))
        .unwrap();
    let drawing: Vec<_> = output
        .lines()
        .filter(|line| line.contains("48;5;231"))
        .collect();
    assert!(drawing.len() > 10, "{output}");
    for colors in [(0, 255), (255, 0)] {
        let rows = picture(&drawing.join("\n"), colors);
        assert_eq!(read(&rows, colors.1).as_deref(), Some(&*uri));
    }
}
