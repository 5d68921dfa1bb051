//! Compares each pair of policies once.

use std::collections::HashMap;

use super::callers::{Who, admitted};
use crate::auth::Policy;

/// The index of a policy. Policies that admit the same by the same rules have the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PolicyId(usize);

/// The index of a pair of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PairId(usize);

/// The callers that a change from one policy to another opens and closes.
pub(super) type Admitted = (Vec<Who>, Vec<Who>);

#[derive(Debug, Default)]
pub(super) struct Pairs {
    policies: Vec<Policy>,
    ids: HashMap<Policy, PolicyId>,
    known: HashMap<[Option<PolicyId>; 2], Option<PairId>>,
    admitted: Vec<Admitted>,
}

impl Pairs {
    /// Returns the index of a policy.
    pub(super) fn policy(&mut self, policy: &Policy) -> PolicyId {
        let policy = sorted(policy);
        if let Some(id) = self.ids.get(&policy) {
            return *id;
        }
        let id = PolicyId(self.policies.len());
        self.policies.push(policy.clone());
        self.ids.insert(policy, id);
        id
    }

    /// Compares two policies; `None` admits nobody. Returns `None` if both admit the same.
    pub(super) fn compare(&mut self, pair: [Option<PolicyId>; 2]) -> Option<PairId> {
        let [old, new] = pair;
        if old == new {
            return None;
        }
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        let of = |id: Option<PolicyId>| id.and_then(|id| self.policies.get(id.0));
        let found = admitted(of(old), of(new));
        let is_same = found.0.is_empty() && found.1.is_empty();
        let id = (!is_same).then_some(PairId(self.admitted.len()));
        if id.is_some() {
            self.admitted.push(found);
        }
        self.known.insert(pair, id);
        id
    }

    /// Returns the callers for whom something is opened, and those for whom something is closed.
    pub(super) fn get(&self, id: PairId) -> Option<&Admitted> {
        self.admitted.get(id.0)
    }
}

/// Returns the policy with its rules in order, each once.
fn sorted(policy: &Policy) -> Policy {
    let sorted_rules = |rules: &Vec<_>| {
        let mut rules = rules.clone();
        rules.sort();
        rules.dedup();
        rules
    };
    match policy {
        Policy::Allow(rules) => Policy::Allow(sorted_rules(rules)),
        Policy::Except(policy, rules) => {
            Policy::Except(Box::new(sorted(policy)), sorted_rules(rules))
        }
        Policy::Both(one, other) => Policy::Both(Box::new(sorted(one)), Box::new(sorted(other))),
        Policy::Anyone | Policy::Authenticated | Policy::Capable(_) => policy.clone(),
    }
}
