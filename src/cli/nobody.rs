//! Warnings of `check --connect` about rules that match nobody in the database.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::CliError;
use super::setup::runtime;
use crate::auth::{IdentityId, Names, Policy, PrincipalRef, Rule, Selection, Store};
use crate::config::{Config, Place};
use crate::store::{self, Intent, Options};

/// The number of rows of which one must be an identity.
const MANY: u32 = 100;

/// The maximum number of rules that are looked up.
const LOOKS: usize = 1000;

/// Returns a warning for each rule of a group or route that matches no identity in the database.
pub(super) fn of_nobody(config: &Config, options: Options) -> Result<Vec<String>, CliError> {
    let groups = config.groups.iter();
    let shown = |place: Option<Place>| place.map_or_else(String::new, |it| format!("{it}: "));
    let groups = groups.map(|group| {
        let place = shown(config.places.group(&group.name));
        (format!("{place}group {:?}", group.name), &*group.members)
    });
    let routes = config.routes.iter().enumerate().flat_map(|(at, route)| {
        let lists = lists(&route.policy).into_iter();
        let place = shown(config.places.route(at));
        lists.map(move |rules| (format!("{place}route {:?}", route.name), rules))
    });
    // A rule is named where it stands first: the members of a group are also those of its routes.
    let mut seen = HashSet::new();
    let mut rules = Vec::new();
    for (place, list) in groups.chain(routes) {
        for rule in list.iter().filter(|rule| seen.insert(*rule)) {
            rules.push((place.clone(), rule));
        }
    }
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let chars = config.credential_headers.name_chars;
    let looked_up = runtime()?.block_on(look_up(options, rules.iter().take(LOOKS), chars));
    let mut warnings = looked_up.unwrap_or_else(|error| {
        vec![format!(
            "the principals in routes and groups were not looked up in the database: {error}"
        )]
    });
    if let Some(others @ 1..) = rules.len().checked_sub(LOOKS) {
        warnings.push(format!(
            "{others} further principals in routes and groups were not looked up in the database"
        ));
    }
    Ok(warnings)
}

/// Looks rules up, each with the place where it stands. `chars` is the longest name or realm.
async fn look_up<'a>(
    options: Options,
    rules: impl Iterator<Item = &'a (String, &'a Rule)>,
    chars: usize,
) -> Result<Vec<String>, CliError> {
    let store: Arc<dyn Store> = store::open(options, Intent::Read).await?;
    let mut warnings = Vec::new();
    for (place, rule) in rules {
        let prefix = match &rule.name {
            Names::All => None,
            Names::Prefix(prefix) => Some(prefix.clone()),
            Names::One(name) => {
                let who = PrincipalRef::new(name, &rule.realm, chars)?;
                if store.identity(who).await?.is_none() {
                    warnings.push(matches_nobody(place, rule));
                }
                continue;
            }
        };
        let selection = Selection {
            realm: Some(rule.realm.clone()),
            name: prefix,
            ..Selection::default()
        };
        let first = store.identities(&selection, IdentityId(0), MANY).await?;
        if first.identities.is_empty() {
            warnings.push(matches_nobody(place, rule));
        }
    }
    Ok(warnings)
}

fn matches_nobody(place: &str, rule: &Rule) -> String {
    format!("{place}: {rule} matches no identity in the database")
}

/// Returns the lists of rules in a policy.
fn lists(policy: &Policy) -> Vec<&[Rule]> {
    match policy {
        Policy::Allow(rules) => vec![rules],
        Policy::Except(policy, exceptions) => {
            let mut lists = lists(policy);
            lists.push(exceptions);
            lists
        }
        Policy::Both(one, other) => [lists(one), lists(other)].concat(),
        Policy::Anyone | Policy::Authenticated | Policy::Capable(_) => Vec::new(),
    }
}
