//! Properties that hold for any query and any lines of a bulk creation.

use super::parse::parse;
use super::query::Query;
use super::terms::new_identity;
use super::types::NewIdentity;
use crate::auth::{Seed, UnixTime, trim};
use crate::config::Config;

/// The time of the requests.
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Reads a query, the first line of the input, and the lines after it as identities to create.
///
/// # Panics
/// A parameter is out of its bounds, another JSON parser reads another identity, or an identity is
/// accepted that could never authenticate.
pub fn v1(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    if let Ok(query) = str::from_utf8(lines.next().unwrap_or_default())
        && let Ok(uri) = format!("/?{query}").parse()
    {
        let mut query = Query::of(&uri);
        assert!((1..=1000).contains(&query.limit()));
        let _ = (query.cursor("identities"), query.text("name"));
        let _ = query.end();
    }
    let Ok(config) = Config::parse("", "fuzzed", []) else {
        unreachable!("the default configuration is valid");
    };
    for line in lines {
        let Ok(new) = parse::<NewIdentity>(line) else {
            continue;
        };
        // The other parser takes the last of several equal members, of which none is accepted.
        let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let text = |member: &str| value.get(member).and_then(serde_json::Value::as_str);
        assert_eq!(text("name"), Some(new.name.as_str()));
        assert_eq!(text("realm"), Some(new.realm.as_str()));
        let Ok(new) = new_identity(&config, new, NOW) else {
            continue;
        };
        for part in [new.principal.name(), new.principal.realm()] {
            assert!((1..=128).contains(&part.chars().count()));
            assert!(trim(part) == part && !part.contains('\0'));
        }
        assert!(new.seed.as_bytes().len() * 8 >= Seed::LEAST_BITS);
        let terms = &new.terms;
        assert!(terms.expires.is_none_or(|expires| expires > NOW));
        assert!(
            terms
                .comment
                .as_ref()
                .is_none_or(|it| it.chars().count() <= 256)
        );
        if let (Some(from), Some(until)) = (terms.not_before, terms.expires) {
            assert!(from < until);
        }
    }
}
