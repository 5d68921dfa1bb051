//! The nodes on the overview.

use super::view::When;
use crate::doors::v1::types::{Node, Status};

/// A row of the table of nodes.
pub(super) struct NodeRow {
    pub(super) name: String,
    /// The beginning of its id; empty if its name is enough.
    pub(super) id: String,
    pub(super) version: String,
    pub(super) is_other_version: bool,
    pub(super) is_this: bool,
    pub(super) is_missing: bool,
    /// The time since its last record.
    pub(super) age: String,
    pub(super) started: When,
    pub(super) config: String,
    pub(super) loaded: When,
    pub(super) behind: u64,
}

impl NodeRow {
    /// Makes the rows of a status, with those that are missing first.
    pub(super) fn all(status: &Status) -> Vec<Self> {
        let nodes = &status.nodes;
        let row = |node: &Node| {
            let alike = nodes.iter().filter(|it| it.name == node.name);
            let id = match alike.count() {
                0 | 1 => "",
                _ => node.id.get(..8).unwrap_or_default(),
            };
            Self {
                name: node.name.clone(),
                id: id.to_owned(),
                is_other_version: node.version != status.version,
                version: node.version.clone(),
                is_this: node.is_this,
                is_missing: node.is_missing,
                age: age(node.age),
                started: node.started.into(),
                config: node.config.clone(),
                loaded: node.loaded.into(),
                behind: node.behind,
            }
        };
        let mut rows: Vec<_> = nodes.iter().map(row).collect();
        rows.sort_by_key(|it| !it.is_missing);
        rows
    }
}

fn age(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} minutes", secs / 60),
        _ => format!("{} hours", secs / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_largest_fitting_unit() {
        let ages = [0, 119, 120, 7199, 7200, 86_400].map(age);
        let expected = [
            "0 s",
            "119 s",
            "2 minutes",
            "119 minutes",
            "2 hours",
            "24 hours",
        ];
        assert_eq!(ages, expected);
    }
}
