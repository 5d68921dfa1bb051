//! What is documented about figures, against the figures of a running realmgate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Gate, Upstream, get, routes};

/// Returns a file of the project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Type and labels of each figure, by the name that it is asked for by.
type Figures = BTreeMap<String, (String, BTreeSet<String>)>;

/// Reads the figures of a scrape.
fn shown(text: &str) -> Figures {
    let mut figures = Figures::new();
    let mut types = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            let name = match of {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            figures.insert(name.clone(), (of.to_owned(), BTreeSet::new()));
            types.insert(name, of.to_owned());
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, labels) = match line.split_once('{') {
            Some((name, rest)) => (name, rest.rsplit_once("} ").unwrap().0),
            None => (line.split_once(' ').unwrap().0, ""),
        };
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|family| types.get(*family).is_some_and(|it| it == "histogram"))
            .unwrap_or(name);
        let (_, known) = figures
            .get_mut(family)
            .unwrap_or_else(|| panic!("no type: {line}"));
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        known.extend(
            labels
                .map(|(label, _)| label.to_owned())
                .filter(|it| it != "le"),
        );
    }
    figures
}

/// Reads the table of the documentation.
fn documented() -> Figures {
    let text = fs::read_to_string(file("docs/observability.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
        let [name, of, labels, ..] = cells[..] else {
            panic!("{line}")
        };
        let labels = labels.split('`').skip(1).step_by(2);
        // After a colon there are values.
        let values = cells[2].split_once(':').map_or("", |(_, values)| values);
        let labels = labels
            .filter(|label| !values.contains(&format!("`{label}`")))
            .map(str::to_owned);
        let name = name.trim_end_matches('`').to_owned();
        Some((name, (of.to_owned(), labels.collect())))
    });
    rows.collect()
}

/// A realmgate of which every figure has been counted once.
fn busy() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    get(gate.gateway, "/x", &caller.fields());
    (gate, upstream)
}

#[test]
fn documentation_names_every_figure_with_type_and_labels() {
    let (gate, _upstream) = busy();
    let shown = shown(&get(gate.service, "/metrics", "").body);
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    assert_eq!(shown, documented);
}
