//! Runs the fuzz targets on their corpora.

use std::fs;
use std::path::Path;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message;

use crate::fuzzing;

type Target = (&'static str, fn(&[u8]));

/// The targets in `fuzz/`.
const TARGETS: [Target; 11] = [
    ("check", check),
    ("config", fuzzing::config),
    ("credential", fuzzing::credential),
    ("forward_auth", fuzzing::forward_auth),
    ("forwarded", fuzzing::forwarded),
    ("header", fuzzing::header),
    ("otpauth", fuzzing::otpauth),
    ("proxy_protocol", fuzzing::proxy_protocol),
    ("rest_body", fuzzing::rest_body),
    ("target", fuzzing::target),
    ("v1", fuzzing::v1),
];

fn check(data: &[u8]) {
    if let Ok(check) = CheckRequest::decode(data) {
        fuzzing::check(&check);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn corpora_violate_no_property() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let known = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names(&fuzz.join("corpus")), known);
    let sources = known.clone().map(|name| format!("{name}.rs"));
    assert_eq!(names(&fuzz.join("targets")), sources);
    for (name, run) in TARGETS {
        let folder = fuzz.join("corpus").join(name);
        let entries = names(&folder);
        assert!(entries.len() >= 10, "{name} has {} entries", entries.len());
        for entry in entries {
            let data = fs::read(folder.join(&entry)).unwrap();
            // The output shows the name of the entry if it panics.
            println!("{name}/{entry}");
            run(&data);
        }
    }
}
