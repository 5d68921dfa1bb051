//! The documented metrics, compared with those of a running realmgate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::certificate::certificate;
use crate::harness::port::Port;
use crate::harness::{Gate, Upstream, get, routes, stderr, stdout, until};

/// Returns the path of a file in the project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Type and labels of each metric, by the name used in queries.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// Parses the metrics of a scrape.
fn shown(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut types = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            let name = match of {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            metrics.insert(name.clone(), (of.to_owned(), BTreeSet::new()));
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
        let (_, known) = metrics
            .get_mut(family)
            .unwrap_or_else(|| panic!("no type: {line}"));
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        known.extend(
            labels
                .map(|(label, _)| label.to_owned())
                .filter(|it| it != "le"),
        );
    }
    metrics
}

/// Parses the table in the documentation.
fn documented() -> Metrics {
    let text = fs::read_to_string(file("docs/observability.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let row = line.strip_prefix("| `")?;
        if !row.starts_with("realmgate_") && !row.starts_with("process_") {
            return None;
        }
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, of, labels, ..] = cells[..] else {
            panic!("{line}")
        };
        let labels = labels.split('`').skip(1).step_by(2);
        // Values follow a colon.
        let values = cells[2].split_once(':').map_or("", |(_, values)| values);
        let labels = labels
            .filter(|label| !values.contains(&format!("`{label}`")))
            .map(str::to_owned);
        let name = name.trim_end_matches('`').to_owned();
        Some((name, (of.to_owned(), labels.collect())))
    });
    rows.collect()
}

/// A realmgate that has counted every metric at least once.
fn busy() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    // Only PostgreSQL has all of them.
    let routes = routes(upstream.address);
    let routes = routes.replace("name = \"ops\"", "name = \"ops\"\nmode = \"observe\"");
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(files.path());
    let certificate = format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
    let gate = Gate::start_on_postgres(&format!("{routes}{certificate}"));
    let caller = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/ops", "").status, 200);
    get(gate.gateway, "/x", &caller.fields());
    (gate, upstream)
}

#[test]
fn documentation_names_every_metric_with_type_and_labels() {
    let (gate, _upstream) = busy();
    let shown = shown(&get(gate.metrics(), "/metrics", "").body);
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    assert_eq!(shown, documented);
}

/// Returns the names of the metrics of realmgate and of the process in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("realmgate_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let (gate, _upstream) = busy();
    let shown = shown(&get(gate.metrics(), "/metrics", "").body);
    let series: BTreeSet<String> = shown
        .iter()
        .flat_map(|(name, (of, _))| match &**of {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|suffix| format!("{name}{suffix}"))
                .to_vec(),
            _ => vec![name.clone()],
        })
        .collect();
    let alerts = fs::read_to_string(file("deploy/prometheus/alerts.yml")).unwrap();
    let dashboard = fs::read(file("deploy/grafana/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|it| it["targets"].as_array().unwrap());
    let asked: String = targets
        .map(|it| it["expr"].as_str().unwrap().to_owned() + "\n")
        .collect();
    for (text, least) in [(alerts, 10), (asked, 20)] {
        let asked = names(&text);
        assert!(asked.len() >= least, "{asked:?}");
        let missing: Vec<_> = asked.difference(&series).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// Returns a program of Debian's Prometheus package, which `scripts/setup test` unpacks.
fn prometheus(program: &str) -> Command {
    let path = file("target/tools/prometheus/usr/bin").join(program);
    assert!(path.exists(), "{}: run scripts/setup test", path.display());
    Command::new(path)
}

fn promtool(args: &[&str], input: &str) {
    let mut promtool = prometheus("promtool");
    let mut promtool = promtool
        .args(args)
        .current_dir(file("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let reported = stdout(&output) + &stderr(&output);
    assert!(output.status.success(), "{args:?}: {reported}");
}

#[test]
fn promtool_takes_the_rules_their_tests_the_configuration_and_the_metrics() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
    promtool(&["check", "config", "prometheus.yml"], "");
    let (gate, _upstream) = busy();
    let reply = get(gate.metrics(), "/metrics", "Accept: text/plain\r\n");
    promtool(&["check", "metrics"], &reply.body);
}

/// A process that is stopped on drop.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn prometheus_scrapes_realmgate_and_loads_the_rules() {
    let (gate, _upstream) = busy();
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(file("deploy/prometheus/prometheus.yml")).unwrap();
    let config = config
        .replace("127.0.0.1:8084", &gate.metrics().to_string())
        .replace("_interval: 15s", "_interval: 1s");
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let alerts = file("deploy/prometheus/alerts.yml");
    fs::copy(alerts, folder.path().join("alerts.yml")).unwrap();
    let port = Port::reserve();
    let address = port.address;
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let _running = Ended(
        prometheus("prometheus")
            .arg(format!(
                "--config.file={}",
                folder.path().join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    until("Prometheus answers", || TcpStream::connect(address).is_ok());
    let ask = |query: &str| {
        let body = get(address, &format!("/api/v1/query?query={query}"), "").body;
        // Until it is ready, it responds with text.
        let (start, end) = (body.find('{')?, body.rfind('}')?);
        let answer: serde_json::Value = serde_json::from_str(body.get(start..=end)?).ok()?;
        let value = &answer["data"]["result"][0]["value"][1];
        value.as_str().map(str::to_owned)
    };
    until("a scrape", || ask("up").as_deref() == Some("1"));
    let decisions = "realmgate_decisions_total%7Brealm=%22payments%22,outcome=%22permitted%22%7D";
    until("a decision", || ask(decisions).as_deref() == Some("1"));
    let offset = "realmgate_totp_step_offset_bucket%7Ble=%22%2BInf%22%7D";
    assert_eq!(ask(offset).as_deref(), Some("1"));
    let rules = get(address, "/api/v1/rules", "").body;
    let alerts = fs::read_to_string(folder.path().join("alerts.yml")).unwrap();
    let names: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(rules.contains(&format!("\"{name}\"")), "{name}: {rules}");
    }
}
