//! The reasons of lines.

/// The reasons that lines may have, by what they are about.
pub const REASONS: [(&str, &[&str]); 5] = [
    (
        "Denied",
        &[
            "no_credential",
            "malformed_credential",
            "unknown_principal",
            "disabled",
            "not_yet_valid",
            "expired",
            "broken_seed",
            "wrong_token",
            "outside_window",
            "replayed",
            "throttled",
            "not_allowed",
            "store_unavailable",
        ],
    ),
    (
        "Rejected",
        &[
            "no_route",
            "ambiguous_path",
            "slashes",
            "bad_host",
            "bad_method",
            "trace",
            "connect",
            "bad_line_ending",
            "bad_framing",
            "unknown_coding",
            "bad_version",
            "bad_header",
            "target_too_long",
            "bad_expect",
            "too_many_fields",
            "header_too_large",
            "address_busy",
            "server_busy",
            "bad_target",
            "untrusted_proxy",
            "description_missing",
            "description_malformed",
            "no_endpoint",
            "bad_narrowing",
            "body_too_large",
        ],
    ),
    ("Session", &["log_in", "log_out", "administrator"]),
    ("Process", &["replaced"]),
    (
        "Audit log",
        &[
            "emptied",
            "cut",
            "altered",
            "other_head",
            "no_head",
            "rewritten",
        ],
    ),
];

/// Returns a reason, if lines may have it.
pub fn find_reason(name: &str) -> Option<&'static str> {
    let mut reasons = REASONS.iter().flat_map(|(_, reasons)| *reasons);
    reasons.find(|it| **it == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_reason_is_known_and_every_known_one_documented() {
        let page = include_str!("../../docs/reasons.md");
        let (_, page) = page.split_once("## Denied").unwrap();
        let (page, _) = page.split_once("## Failed").unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: Vec<_> = rows.filter_map(|line| line.split('`').next()).collect();
        let [(_, denied), (_, rejected), ..] = REASONS;
        assert_eq!(rows, [denied, rejected].concat());
        let log = include_str!("../../docs/audit.md");
        for (group, reasons) in &REASONS[2..] {
            for reason in *reasons {
                assert!(log.contains(&format!("`{reason}`")), "{group}: {reason}");
            }
        }
        assert_eq!(find_reason("wrong_token"), Some("wrong_token"));
        assert_eq!(find_reason("wrong"), None);
    }
}
