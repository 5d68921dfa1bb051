use std::cmp::Ordering;
use std::ops::RangeInclusive;

use super::django::Row;
use super::outcome::{Note, Outcome, Reason, Reserved};
use crate::auth::{
    Capability, Identity, IdentityId, Imported, ImportedIdentity, Parameters, Principal,
    PrincipalRef, Realms, Seed, State, Strength, Terms, UnixTime,
};

/// The ids that are kept. JSON readers round larger ones, and after the highest possible id the
/// store could not assign another.
const KEPT: RangeInclusive<i64> = 1..=(1 << 53);

/// The minimum length of an imported seed in bits. A shorter one can be computed from one token.
pub const LEAST_BITS: usize = Seed::LEAST_BITS;
/// Seeds with fewer bits can be computed from a few tokens, with some effort, and should be rotated
/// at once.
pub const FEW_BITS: usize = 80;

/// The maximum number of characters kept of an invalid name or realm.
const SHOWN: usize = 128;

/// Collects the rows of a plan.
pub struct PlanBuilder<'a> {
    rows: Vec<Planned>,
    realms: &'a Realms,
    limit: usize,
}

/// The decisions about all rows.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of their ids.
    rows: Vec<Planned>,
    /// The indexes of the imported rows, in the order of their principals.
    by_principal: Vec<usize>,
    /// The indexes of the imported rows that keep their ids, in the order of the ids.
    by_id: Vec<usize>,
    /// Where [`Plan::take`] continues: the outcome, and the index of the next row.
    next: (Outcome, usize),
}

/// A row to be inserted.
#[derive(Debug)]
pub struct Taken {
    /// Its index in the plan.
    pub at: usize,
    /// The identity to insert.
    pub identity: ImportedIdentity,
}

/// The decision about a row.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id in the source.
    pub id: i64,
    /// The name, truncated if it is invalid.
    pub name: Box<str>,
    /// The realm, truncated if the row is invalid.
    pub realm: Box<str>,
    /// Whether it is imported.
    pub outcome: Outcome,
    /// Remarks for the administrator.
    pub notes: Vec<Note>,
    /// The data to insert; `None` once inserted, or if skipped.
    incoming: Option<Incoming>,
}

#[derive(Clone, Debug)]
struct Incoming {
    seed: Seed,
    state: State,
    created: Option<UnixTime>,
}

impl<'a> PlanBuilder<'a> {
    /// Begins a plan for an empty store. `limit` is the maximum number of characters of a name and
    /// of a realm.
    pub fn new(realms: &'a Realms, limit: usize) -> Self {
        Self {
            rows: Vec::new(),
            realms,
            limit,
        }
    }

    /// Adds a row. The order of rows does not matter.
    pub fn add(&mut self, row: &Row) {
        self.rows.push(read(row, self.realms, self.limit));
    }

    /// Decides about all rows. Of several rows with the same name and realm, the one with the
    /// lowest id is imported.
    pub fn finish(self) -> Plan {
        let mut rows = self.rows;
        rows.sort_by_key(|row| row.id);
        rows.shrink_to_fit();
        let by_principal = leave_duplicates_out(&mut rows);
        let mut by_id = Vec::new();
        let mut last = None;
        for (at, row) in rows.iter_mut().enumerate() {
            if row.outcome != Outcome::New {
                continue;
            }
            if KEPT.contains(&row.id) && last != Some(row.id) {
                last = Some(row.id);
                by_id.push(at);
            } else {
                row.outcome = Outcome::NewId;
            }
        }
        Plan {
            rows,
            by_principal,
            by_id,
            next: (Outcome::New, 0),
        }
    }
}

impl Plan {
    /// Takes an existing identity into account. Call it for each, in any order.
    pub fn meet(&mut self, here: &Identity) {
        let rows = &mut self.rows;
        let id = |&at: &usize| rows.get(at).map(|row| row.id).cmp(&Some(here.id.0));
        // Check the principal last: a row that exists already needs no id.
        if let Some(at) = find(&self.by_id, id)
            && let Some(row) = rows.get_mut(at)
            && row.outcome == Outcome::New
        {
            row.outcome = Outcome::NewId;
        }
        let wanted = (here.principal.name(), here.principal.realm());
        let principal = |&at: &usize| rows.get(at).map(Planned::who).cmp(&Some(wanted));
        if let Some(at) = find(&self.by_principal, principal)
            && let Some(row) = rows.get_mut(at)
            && let Some(incoming) = row.incoming.take()
        {
            row.outcome = compare(here, &incoming.seed);
        }
    }

    /// Returns all rows in the order of their ids.
    pub fn rows(&self) -> &[Planned] {
        &self.rows
    }

    /// Returns the number of rows to import.
    pub fn incoming(&self) -> usize {
        self.rows.iter().filter(|row| row.comes_in()).count()
    }

    /// Returns the number of skipped rows.
    pub fn left_out(&self) -> usize {
        let out = |row: &&Planned| matches!(row.outcome, Outcome::LeftOut(_));
        self.rows.iter().filter(out).count()
    }

    /// Returns the highest id that is kept.
    pub fn last_id(&self) -> Option<IdentityId> {
        let last = self.by_id.last().and_then(|&at| self.rows.get(at));
        last.map(|row| IdentityId(row.id))
    }

    /// Returns up to `most` rows to insert next, those that keep their ids first. `now` is the
    /// registration time of rows without one. Report each result to [`settle`](Self::settle).
    pub fn take(&mut self, most: usize, now: UnixTime) -> Vec<Taken> {
        let mut all = Vec::with_capacity(most);
        while all.len() < most {
            let (outcome, at) = (&self.next.0, self.next.1);
            let Some(row) = self.rows.get(at) else {
                if *outcome == Outcome::NewId {
                    break;
                }
                self.next = (Outcome::NewId, 0);
                continue;
            };
            self.next.1 += 1;
            // A row that was renumbered when it was inserted has no seed any more.
            let Some(incoming) = row.incoming.as_ref().filter(|_| row.outcome == *outcome) else {
                continue;
            };
            // It was checked before.
            let Ok(principal) = Principal::new(&row.name, &row.realm, usize::MAX) else {
                continue;
            };
            let identity = ImportedIdentity {
                id: (*outcome == Outcome::New).then_some(IdentityId(row.id)),
                principal,
                seed: incoming.seed.clone(),
                // ungleich-otp had fixed parameters.
                parameters: Parameters::default(),
                state: incoming.state,
                created: incoming.created.unwrap_or(now),
                terms: Terms::default(),
            };
            all.push(Taken { at, identity });
        }
        all
    }

    /// Records the result of inserting a row.
    pub fn settle(&mut self, at: usize, imported: &Imported) {
        let Some(row) = self.rows.get_mut(at) else {
            return;
        };
        let incoming = row.incoming.take();
        match (imported, incoming) {
            (Imported::Under(id), _) if id.0 != row.id => row.outcome = Outcome::NewId,
            (Imported::Under(_), _) | (_, None) => {}
            (Imported::Taken(here), Some(incoming)) => {
                row.outcome = compare(here, &incoming.seed);
            }
        }
    }
}

impl Planned {
    fn who(&self) -> (&str, &str) {
        (&self.name, &self.realm)
    }

    /// Returns whether the row is imported.
    pub fn comes_in(&self) -> bool {
        matches!(self.outcome, Outcome::New | Outcome::NewId)
    }
}

/// Finds an index by binary search; `places` is sorted by the key of `compare`.
fn find(places: &[usize], compare: impl FnMut(&usize) -> Ordering) -> Option<usize> {
    let found = places.binary_search_by(compare).ok()?;
    places.get(found).copied()
}

fn read(row: &Row, realms: &Realms, limit: usize) -> Planned {
    let mut notes = Vec::new();
    let incoming = incoming(row, limit);
    let realm = row.realm.as_deref().unwrap_or_default();
    if let Ok(incoming) = &incoming {
        let bits = incoming.seed.as_bytes().len() * 8;
        if bits < FEW_BITS {
            notes.push(Note::Short { bits });
        } else if incoming.seed.strength() == Strength::Weak {
            notes.push(Note::Weak { bits });
        }
        if incoming.state == State::Disabled {
            notes.push(Note::Disabled);
        }
        if realms.grant(realm, Capability::Create) {
            notes.push(Note::Reserved(Reserved::Admin));
        } else if realms.grant(realm, Capability::Verify) {
            notes.push(Note::Reserved(Reserved::Auth));
        }
    }
    // An invalid part may have any length.
    let shown = match incoming {
        Ok(_) => usize::MAX,
        Err(_) => SHOWN,
    };
    let part = |text: &Option<String>| -> Box<str> {
        let text = text.as_deref().unwrap_or("\u{fffd}");
        let end = text.char_indices().nth(shown);
        let kept = end.and_then(|(end, _)| text.get(..end));
        kept.map_or_else(|| text.into(), |kept| format!("{kept}\u{2026}").into())
    };
    let (outcome, incoming) = match incoming {
        Ok(incoming) => (Outcome::New, Some(incoming)),
        Err(reason) => (Outcome::LeftOut(reason), None),
    };
    Planned {
        id: row.id,
        name: part(&row.name),
        realm: part(&row.realm),
        outcome,
        notes,
        incoming,
    }
}

/// Returns the data to import, without trimming. ungleich-otp trimmed the credentials it received
/// and compared them with untrimmed rows. So a row with white space at an end could never
/// authenticate, and trimming it now might turn it into an administrator.
fn incoming(row: &Row, limit: usize) -> Result<Incoming, Reason> {
    let (Some(name), Some(realm)) = (&row.name, &row.realm) else {
        return Err(Reason::Encoding);
    };
    PrincipalRef::new(name, realm, limit).map_err(Reason::Principal)?;
    let seed = Seed::from_base32(&row.seed).map_err(Reason::Seed)?;
    if row.seed.contains([' ', '-']) {
        return Err(Reason::SpacedSeed);
    }
    let bits = seed.as_bytes().len() * 8;
    if bits < LEAST_BITS {
        return Err(Reason::ShortSeed { bits });
    }
    Ok(Incoming {
        seed,
        state: if row.active {
            State::Enabled
        } else {
            State::Disabled
        },
        created: row.created,
    })
}

/// Marks all but the first row of each principal as duplicates. Returns the indexes of the first
/// rows, in the order of principals.
fn leave_duplicates_out(rows: &mut [Planned]) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::new();
    places.extend((0..rows.len()).filter(|&at| rows.get(at).is_some_and(Planned::comes_in)));
    // The sort is stable, so the first row of a principal stays first.
    places.sort_by(|&one, &other| {
        rows.get(one)
            .map(Planned::who)
            .cmp(&rows.get(other).map(Planned::who))
    });
    let mut first: Option<usize> = None;
    places.retain(|&at| {
        let is_again = first.is_some_and(|first| {
            rows.get(first).map(Planned::who) == rows.get(at).map(Planned::who)
        });
        if !is_again {
            first = Some(at);
            return true;
        }
        let of = first
            .and_then(|first| rows.get(first))
            .map_or(0, |row| row.id);
        if let Some(row) = rows.get_mut(at) {
            row.outcome = Outcome::LeftOut(Reason::Duplicate { of });
            row.incoming = None;
        }
        false
    });
    places
}

fn compare(here: &Identity, seed: &Seed) -> Outcome {
    let same = here.seed().is_some_and(|here| here == *seed);
    if same {
        Outcome::Unchanged
    } else {
        Outcome::LeftOut(Reason::OtherSeed { here: here.id.0 })
    }
}

#[cfg(test)]
mod tests;
