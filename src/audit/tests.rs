use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::chain::{Position, read_head, write_line};
use super::disk::head_path;
use super::entry::Entry;
use super::file::{Log, Room};
use super::*;

/// A folder with a log.
struct Scene {
    folder: TempDir,
}

impl Scene {
    /// Makes a log with a number of lines.
    fn with(lines: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { folder };
        scene.add(lines);
        scene
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Appends lines one by one, like another process.
    fn add(&self, lines: usize) {
        let mut log = Log::open(&self.path()).unwrap();
        for _ in 0..lines {
            log.append(&[&denied()], Room::Common).unwrap();
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn put(&self, lines: &[String]) {
        fs::write(self.path(), lines.concat()).unwrap();
    }

    fn head(&self) -> Position {
        read_head(&fs::read(head_path(&self.path())).unwrap()).unwrap()
    }

    fn report(&self) -> Report {
        verify(&[self.path()], true, false, &[]).unwrap()
    }

    /// Asserts the errors: the line and code of each.
    #[track_caller]
    fn assert_breaks(&self, expected: &[(Option<u64>, &str)]) {
        assert_eq!(breaks(&self.report()), expected);
    }

    #[track_caller]
    fn assert_notes(&self, expected: &[(Option<u64>, &str)]) {
        let report = self.report();
        assert_eq!(breaks(&report), []);
        let notes: Vec<_> = report.notes.iter().map(|it| (it.line, it.code)).collect();
        assert_eq!(notes, expected);
    }

    fn rotate(&self, to: &str) -> PathBuf {
        let rotated = self.folder.path().join(to);
        fs::rename(self.path(), &rotated).unwrap();
        rotated
    }
}

fn breaks(report: &Report) -> Vec<(Option<u64>, &'static str)> {
    report.breaks.iter().map(|it| (it.line, it.code)).collect()
}

fn denied() -> Entry {
    Entry {
        time: SystemTime::now(),
        body: Event::new(Kind::Denied).body(),
    }
}

#[test]
fn whole_log_is_fine() {
    let scene = Scene::with(3);
    scene.add(2);
    scene.assert_notes(&[]);
    let report = scene.report();
    assert_eq!((report.lines, report.last), (5, Some(scene.head())));
    assert_eq!(scene.head().seq, 5);
}

#[test]
fn altered_byte_shows_wherever_it_is() {
    let scene = Scene::with(3);
    let lines = scene.lines();
    for at in 0..lines[1].len() {
        let mut altered = lines.clone();
        let mut bytes = altered[1].clone().into_bytes();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        altered[1] = String::from_utf8(bytes).unwrap();
        scene.put(&altered);
        assert_ne!(breaks(&scene.report()), [], "byte {at}");
    }
    scene.put(
        &[
            &lines[..1],
            &[lines[1].replace("denied", "permit")],
            &lines[2..],
        ]
        .concat(),
    );
    scene.assert_breaks(&[(Some(2), "altered")]);
}

#[test]
fn line_that_was_altered_and_sealed_again_does_not_fit_the_next() {
    let scene = Scene::with(3);
    let mut lines = scene.lines();
    let first = chain::Link::read(lines[0].trim_end().as_bytes()).unwrap();
    lines[1].clear();
    let (mut forged, body) = (String::new(), r#""event":"identity_created""#);
    write_line(&mut forged, first.position(), SystemTime::now(), body);
    lines[1] = forged;
    scene.put(&lines);
    scene.assert_breaks(&[(Some(3), "not_chained")]);
    scene.put(&lines[..2]);
    scene.assert_breaks(&[(None, "cut")]);
}

#[test]
fn missing_swapped_and_added_lines_show() {
    let scene = Scene::with(5);
    let lines = scene.lines();
    let without = [&lines[..1], &lines[2..]].concat();
    scene.put(&without);
    scene.assert_breaks(&[(Some(2), "missing")]);
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    scene.put(&swapped);
    assert_eq!(breaks(&scene.report())[0], (Some(2), "missing"));
    let twice = [&lines[..3], &lines[2..]].concat();
    scene.put(&twice);
    scene.assert_breaks(&[(Some(4), "disorder")]);
    scene.put(&[&lines[..1], &["hello\n".to_owned()], &lines[1..]].concat());
    scene.assert_breaks(&[(Some(2), "not_a_line")]);
    scene.put(&lines[1..]);
    scene.assert_notes(&[(Some(1), "begins_later")]);
}

#[test]
fn cut_end_shows_and_goes_on_showing() {
    let scene = Scene::with(5);
    let lines = scene.lines();
    scene.put(&lines[..3]);
    scene.assert_breaks(&[(None, "cut")]);
    // In the middle of a line, which would look like a crash without the head.
    let half = lines[3].get(..40).unwrap().to_owned();
    scene.put(&[&lines[..3], &[half]].concat());
    scene.assert_breaks(&[(None, "cut")]);
    scene.put(&lines[..3]);
    scene.add(1);
    scene.assert_breaks(&[(Some(4), "missing"), (Some(4), "was_broken")]);
    assert!(scene.lines()[3].contains(r#""reason":"cut""#));
}

#[test]
fn line_that_a_crash_has_torn_is_no_break() {
    for cut in [1, 40, 200] {
        let scene = Scene::with(3);
        let mut text = String::new();
        write_line(&mut text, scene.head(), SystemTime::now(), &denied().body);
        let torn = text.get(..text.len() - cut).unwrap().to_owned();
        scene.put(&[scene.lines(), vec![torn]].concat());
        let after = if cut == 1 { "after_head" } else { "torn" };
        assert_eq!(scene.report().notes[0].code, after);
        scene.add(2);
        // A line that lacks only its newline counts, although the head does not name it.
        let (notes, last) = match cut {
            1 => ([(Some(5), "after_head")], 7),
            _ => ([(Some(4), "torn")], 6),
        };
        scene.assert_notes(&notes);
        assert_eq!(scene.head().seq, last);
    }
}

#[test]
fn rest_of_a_torn_line_cannot_be_changed() {
    let scene = Scene::with(3);
    scene.put(&[scene.lines(), vec!["{\"time\":\"20".to_owned()]].concat());
    scene.add(1);
    let lines = scene.lines();
    scene.put(
        &lines
            .concat()
            .replace("{\"time\":\"20\n", "{\"time\":\"21\n")
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    );
    scene.assert_breaks(&[(Some(4), "not_a_line")]);
}

#[test]
fn lines_after_the_head_are_those_of_a_crash() {
    let scene = Scene::with(3);
    let head = fs::read(head_path(&scene.path())).unwrap();
    scene.add(2);
    fs::write(head_path(&scene.path()), head).unwrap();
    scene.assert_notes(&[(None, "after_head")]);
    scene.add(1);
    // It stays on record that the head did not name them.
    scene.assert_notes(&[(Some(6), "after_head")]);
    assert!(scene.lines()[5].contains(r#""after_head":2"#));
    assert_eq!(scene.head().seq, 7);
}

#[test]
fn first_lines_of_a_process_that_died_before_the_head_count() {
    let scene = Scene::with(0);
    let mut text = String::new();
    write_line(
        &mut text,
        Position::START,
        SystemTime::now(),
        &denied().body,
    );
    fs::write(scene.path(), text).unwrap();
    scene.assert_notes(&[(None, "after_head")]);
    scene.add(1);
    scene.assert_notes(&[(Some(2), "after_head")]);
}

/// Makes a chain, as an intruder can.
fn forged(lines: usize, after: Position) -> Vec<String> {
    let mut last = after;
    // Within the same millisecond it would equal the line that it replaces.
    let now = SystemTime::now() + Duration::from_secs(1);
    (0..lines)
        .map(|_| {
            let mut text = String::new();
            last = write_line(&mut text, last, now, &denied().body);
            text
        })
        .collect()
}

#[test]
fn chain_that_was_made_anew_and_goes_beyond_the_head_is_broken() {
    for more in [1, 2, 300] {
        let scene = Scene::with(5);
        scene.put(&forged(5 + more, Position::START));
        scene.assert_breaks(&[(None, "other_head")]);
        // The next line does not repair it.
        scene.add(1);
        let text = scene.lines().concat();
        assert!(text.contains(r#""reason":"other_head""#), "{text}");
        let report = scene.report();
        let codes: Vec<_> = report.breaks.iter().map(|it| it.code).collect();
        assert!(codes.contains(&"was_broken"), "{codes:?}");
        scene.add(1);
        assert_ne!(breaks(&scene.report()), []);
    }
}

#[test]
fn lines_taken_out_before_the_head_are_broken_though_the_last_ones_stay() {
    let scene = Scene::with(9);
    let lines = scene.lines();
    let head = scene.head();
    // The lines up to the head are unchanged, and the next ones continue the chain; but lines in
    // between are missing.
    let after = forged(3, head);
    for without in [&lines[..8], &lines[1..], &lines[..0]] {
        scene.put(&[without, &after[..]].concat());
        let is_whole = without.len() == 8 && without[0] != lines[0] || without.is_empty();
        scene.add(1);
        let text = scene.lines().concat();
        let is_told = text.contains(r#""event":"audit_broken""#);
        assert_eq!(is_told, !is_whole, "{text}");
        // The missing beginning is still reported.
        let report = verify(&[scene.path()], true, true, &[]).unwrap();
        assert_ne!(breaks(&report), []);
        fs::write(head_path(&scene.path()), chain::write_head(head)).unwrap();
    }
}

#[test]
fn altered_line_after_the_head_is_broken() {
    let scene = Scene::with(3);
    let head = scene.head();
    let mut after = forged(4, head);
    after[1] = after[1].replace("denied", "permit");
    scene.put(&[scene.lines(), after].concat());
    scene.add(1);
    assert!(scene.lines().concat().contains(r#""reason":"other_head""#));
}

#[test]
fn head_is_found_among_many_lines_and_pieces_of_torn_ones() {
    for (before, after) in [(1, 1), (7, 400), (400, 7), (333, 333)] {
        let scene = Scene::with(0);
        let mut lines = forged(before + after, Position::START);
        let head = chain::Link::read(lines[before - 1].trim_end().as_bytes());
        let head = chain::write_head(head.unwrap().position());
        // A crash in the middle of lines after the head, which the next process has recorded.
        let torn = "{\"time\":\"20\n".to_owned();
        let mut recovered = String::new();
        let event = Event {
            torn_bytes: Some(torn.len() - 1),
            torn_hash: Some(chain::Hash::of(torn.trim_end().as_bytes()).to_string()),
            ..Event::new(Kind::AuditRecovered)
        };
        let last = chain::Link::read(lines.last().unwrap().trim_end().as_bytes());
        let last = last.unwrap().position();
        write_line(&mut recovered, last, SystemTime::now(), &event.body());
        lines.extend([torn, recovered]);
        scene.put(&lines);
        fs::write(head_path(&scene.path()), head).unwrap();
        scene.add(1);
        let report = scene.report();
        assert_eq!(breaks(&report), []);
        let told = format!(r#""after_head":{}"#, after + 1);
        assert!(scene.lines().concat().contains(&told), "{told}");
    }
}

#[test]
fn cut_within_the_first_line_is_no_crash() {
    for (left, rotated) in [(20, false), (60, false), (200, false), (60, true)] {
        let scene = Scene::with(3);
        if rotated {
            scene.rotate("audit.jsonl.1");
            scene.add(3);
        }
        let first = scene.lines()[0].clone();
        scene.put(&[first.get(..left).unwrap().to_owned()]);
        scene.assert_breaks(&[(None, "cut")]);
        scene.add(1);
        let text = scene.lines().concat();
        assert!(text.contains(r#""reason":"cut""#), "{left}: {text}");
        assert_ne!(breaks(&scene.report()), []);
    }
}

#[test]
fn first_line_of_a_file_that_a_crash_has_torn_is_no_break() {
    let scene = Scene::with(3);
    let first = forged(1, scene.head()).concat();
    let oldest = scene.rotate("audit.jsonl.1");
    scene.put(&[first.get(..80).unwrap().to_owned()]);
    scene.add(1);
    let report = verify(&[oldest, scene.path()], true, true, &[]).unwrap();
    assert_eq!(breaks(&report), []);
    assert!(scene.lines()[2].contains("audit_continued"));
    // The very first line, too.
    let scene = Scene::with(0);
    scene.put(&["{".to_owned()]);
    scene.add(1);
    scene.assert_notes(&[(Some(1), "torn")]);
}

#[test]
fn process_knows_its_last_line_though_file_and_head_were_made_anew() {
    let scene = Scene::with(3);
    let mut log = Log::open(&scene.path()).unwrap();
    log.append(&[&denied()], Room::Common).unwrap();
    // With a matching head, no other process could tell.
    let forge = |lines: usize| {
        let forged = forged(lines, Position::START);
        let last = chain::Link::read(forged[lines - 1].trim_end().as_bytes());
        fs::write(scene.path(), forged.concat()).unwrap();
        let head = chain::write_head(last.unwrap().position());
        fs::write(head_path(&scene.path()), head).unwrap();
    };
    for lines in [2, 4, 9] {
        forge(lines);
        scene.assert_notes(&[]);
        let broken = log.append(&[], Room::Common).unwrap();
        assert_eq!(broken, Some("rewritten"), "{lines}");
        assert_ne!(breaks(&scene.report()), []);
        // It is reported once.
        assert_eq!(log.append(&[&denied()], Room::Common).unwrap(), None);
    }
}

#[test]
fn head_that_was_put_back_is_noticed() {
    let scene = Scene::with(3);
    let mut log = Log::open(&scene.path()).unwrap();
    let head = fs::read(head_path(&scene.path())).unwrap();
    let lines = scene.lines();
    log.append(&[&denied()], Room::Common).unwrap();
    scene.put(&lines);
    fs::write(head_path(&scene.path()), head).unwrap();
    scene.assert_notes(&[]);
    assert_eq!(
        log.append(&[&denied()], Room::Common).unwrap(),
        Some("rewritten")
    );
    assert_ne!(breaks(&scene.report()), []);
}

#[test]
fn file_that_was_emptied_says_so() {
    let scene = Scene::with(0);
    let mut log = Log::open(&scene.path()).unwrap();
    log.append(&[&denied()], Room::Common).unwrap();
    fs::write(scene.path(), "").unwrap();
    // Another process may be the first to continue.
    scene.add(1);
    assert_eq!(log.append(&[&denied()], Room::Common).unwrap(), None);
    scene.assert_notes(&[(Some(1), "begins_later")]);
    fs::write(scene.path(), "").unwrap();
    log.append(&[&denied()], Room::Common).unwrap();
    scene.assert_notes(&[(Some(1), "begins_later"), (Some(1), "emptied")]);
    let report = verify(&[scene.path()], true, true, &[]).unwrap();
    assert_eq!(breaks(&report), [(Some(1), "no_beginning")]);
}

#[test]
fn rotated_files_are_one_chain() {
    let scene = Scene::with(3);
    let mut log = Log::open(&scene.path()).unwrap();
    let oldest = scene.rotate("audit.jsonl.2");
    log.append(&[&denied()], Room::Common).unwrap();
    assert!(scene.lines()[0].contains(r#""event":"audit_continued""#));
    let older = scene.rotate("audit.jsonl.1");
    // An empty file, as created by logrotate.
    fs::write(scene.path(), "").unwrap();
    log.append(&[&denied()], Room::Common).unwrap();
    let files = [oldest, older, scene.path()];
    let report = verify(&files, true, false, &[]).unwrap();
    assert_eq!((breaks(&report), report.lines), (vec![], 7));
    let report = verify(&[files[0].clone(), files[2].clone()], true, false, &[]).unwrap();
    assert_eq!(breaks(&report), [(Some(1), "missing")]);
    let report = verify(
        &[files[1].clone(), files[0].clone(), files[2].clone()],
        true,
        false,
        &[],
    )
    .unwrap();
    assert_eq!(report.breaks[0].code, "disorder");
    assert!(matches!(
        verify(&files[..2], true, false, &[]),
        Err(VerifyError::NoHead(_))
    ));
    assert_eq!(breaks(&verify(&files[..2], false, false, &[]).unwrap()), []);
    scene.assert_notes(&[(Some(1), "begins_later")]);
    // The next file contains the hash at the end of a rotated one.
    let text = fs::read_to_string(&files[1]).unwrap();
    fs::write(&files[1], text.lines().next().unwrap()).unwrap();
    assert_eq!(
        breaks(&verify(&files, true, false, &[]).unwrap()),
        [(Some(1), "missing")]
    );
}

#[test]
fn nothing_is_added_to_a_file_that_was_moved_away() {
    let scene = Scene::with(1);
    let mut one = Log::open(&scene.path()).unwrap();
    let mut other = Log::open(&scene.path()).unwrap();
    let moved = scene.rotate("audit.jsonl.1");
    one.append(&[&denied()], Room::Common).unwrap();
    other.append(&[&denied()], Room::Common).unwrap();
    one.append(&[&denied()], Room::Common).unwrap();
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 1);
    assert_eq!(
        breaks(&verify(&[moved, scene.path()], true, false, &[]).unwrap()),
        []
    );
    assert_eq!(scene.head().seq, 5);
}

#[test]
fn emptied_file_continues() {
    let scene = Scene::with(3);
    let mut log = Log::open(&scene.path()).unwrap();
    let copy = scene.folder.path().join("copy");
    fs::copy(scene.path(), &copy).unwrap();
    fs::write(scene.path(), "").unwrap();
    log.append(&[&denied()], Room::Common).unwrap();
    assert_eq!(
        breaks(&verify(&[copy, scene.path()], true, false, &[]).unwrap()),
        []
    );
}

#[test]
fn head_that_is_gone_or_another_shows() {
    let scene = Scene::with(3);
    let path = head_path(&scene.path());
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        verify(&[scene.path()], true, false, &[]),
        Err(VerifyError::NoHead(_))
    ));
    scene.put(&scene.lines()[..2]);
    scene.add(1);
    scene.assert_breaks(&[(Some(3), "was_broken")]);
    let mut other = scene.head();
    other.hash = chain::Hash::of(b"");
    fs::write(&path, chain::write_head(other)).unwrap();
    assert!(breaks(&scene.report()).contains(&(None, "other_head")));
    fs::write(&path, "[]").unwrap();
    assert!(breaks(&scene.report()).contains(&(None, "bad_head")));
}

#[test]
fn position_stored_elsewhere_must_be_in_the_file() {
    let scene = Scene::with(3);
    let noted = scene.head();
    scene.add(2);
    let hold = |noted| breaks(&verify(&[scene.path()], true, false, &[noted]).unwrap());
    assert_eq!(hold(noted), []);
    // A complete forgery, with a matching head.
    fs::remove_file(scene.path()).unwrap();
    fs::remove_file(head_path(&scene.path())).unwrap();
    scene.add(5);
    scene.assert_notes(&[]);
    assert_eq!(hold(noted), [(None, "not_there")]);
}

#[test]
fn writers_at_the_same_time_make_one_chain() {
    let scene = Scene::with(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut log = Log::open(&scene.path()).unwrap();
                for _ in 0..25 {
                    log.append(&[&denied(), &denied()], Room::Common).unwrap();
                }
            });
        }
    });
    scene.assert_notes(&[]);
    assert_eq!(scene.report().lines, 200);
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::with(1);
    for path in [scene.path(), head_path(&scene.path())] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// A full disk, as far as writes are concerned.
#[test]
fn failed_write_leaves_nothing_behind_and_is_made_up_for() {
    let scene = Scene::with(2);
    let mut log = Log::open(&scene.path()).unwrap();
    let head = fs::read(head_path(&scene.path())).unwrap();
    let full = Path::new("/dev/full");
    let moved = scene.rotate("moved");
    std::os::unix::fs::symlink(full, scene.path()).unwrap();
    assert!(log.append(&[&denied()], Room::Common).is_err());
    fs::remove_file(scene.path()).unwrap();
    fs::rename(moved, scene.path()).unwrap();
    assert_eq!(fs::read(head_path(&scene.path())).unwrap(), head);
    log.append(&[&denied()], Room::Common).unwrap();
    scene.assert_notes(&[]);
    assert_eq!(scene.report().lines, 3);
}

#[test]
fn page_lists_every_event_and_every_code() {
    let page = include_str!("../../docs/audit.md");
    for kind in Kind::ALL {
        let name = format!("`{}`", kind.as_str());
        assert!(page.contains(&name), "{name}");
    }
    // Each place that reports a finding names its code.
    let source = include_str!("verify.rs").replace(char::is_whitespace, "");
    let mut codes: Vec<_> = source
        .split("self.found(")
        .chain(source.split("self.note("))
        .skip(1)
        .filter_map(|call| call.split('"').nth(1))
        .filter(|code| code.bytes().all(|it| it == b'_' || it.is_ascii_lowercase()))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    assert!(codes.len() >= 10, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}
