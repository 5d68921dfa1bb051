use std::cmp::Ordering;
use std::ops::RangeInclusive;

use super::django::Row;
use super::outcome::{Note, Outcome, Reason, Reserved};
use crate::auth::{
    Capability, Identity, IdentityId, Imported, ImportedIdentity, Parameters, Principal,
    PrincipalRef, Realms, Seed, State, Strength, Terms, UnixTime,
};

/// The numbers that a row keeps. Above, JSON readers round; and after the highest of all, the store
/// would have no next one to give.
const KEPT: RangeInclusive<i64> = 1..=(1 << 53);

/// The fewest bits of a seed that comes from elsewhere: whoever has seen a token finds a shorter one at once.
pub const LEAST_BITS: usize = 40;
/// A seed of fewer bits can be found from a few tokens, with some effort: it should be replaced at once.
pub const FEW_BITS: usize = 80;

/// The most characters that are kept of a name, and of a realm, that cannot be one.
const SHOWN: usize = 128;

/// Rows that are not all here yet.
pub struct Draft<'a> {
    rows: Vec<Planned>,
    realms: &'a Realms,
    limit: usize,
}

/// What becomes of each row.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of their numbers.
    rows: Vec<Planned>,
    /// Where those are that come in, in the order of their principals.
    by_principal: Vec<usize>,
    /// Where those are that come in and keep their number, in the order of these.
    by_id: Vec<usize>,
    /// What is taken next: rows with this outcome, from this one on.
    next: (Outcome, usize),
}

/// A row on its way into the store.
#[derive(Debug)]
pub struct Taken {
    /// Its place in the plan.
    pub at: usize,
    /// What the store takes.
    pub identity: ImportedIdentity,
}

/// What becomes of one row.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its number there.
    pub id: i64,
    /// Its name; of one that cannot be one perhaps the beginning.
    pub name: Box<str>,
    /// Its realm, likewise.
    pub realm: Box<str>,
    /// Whether it comes in.
    pub outcome: Outcome,
    /// What one should know of it.
    pub notes: Vec<Note>,
    /// What the store would take.
    incoming: Option<Incoming>,
}

#[derive(Clone, Debug)]
struct Incoming {
    seed: Seed,
    state: State,
    created: Option<UnixTime>,
}

impl<'a> Draft<'a> {
    /// Begins a plan for an empty store; `limit` is the most characters of a name and of a realm.
    pub fn new(realms: &'a Realms, limit: usize) -> Self {
        Self {
            rows: Vec::new(),
            realms,
            limit,
        }
    }

    /// Adds a row; in any order.
    pub fn add(&mut self, row: &Row) {
        self.rows.push(read(row, self.realms, self.limit));
    }

    /// Plans what becomes of all rows. Of those with the same name and realm the one with the lowest number
    /// counts.
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
    /// Takes into account that an identity is here already; to be called with each, in any order.
    pub fn meet(&mut self, here: &Identity) {
        let rows = &mut self.rows;
        let id = |&at: &usize| rows.get(at).map(|row| row.id).cmp(&Some(here.id.0));
        // The principal is looked at last: a row that is here already needs no number.
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

    /// Returns what becomes of each row, in their order.
    pub fn rows(&self) -> &[Planned] {
        &self.rows
    }

    /// Returns how many rows come in.
    pub fn incoming(&self) -> usize {
        self.rows.iter().filter(|row| row.comes_in()).count()
    }

    /// Returns how many rows stay out.
    pub fn left_out(&self) -> usize {
        let out = |row: &&Planned| matches!(row.outcome, Outcome::LeftOut(_));
        self.rows.iter().filter(out).count()
    }

    /// Returns the highest number that a row keeps.
    pub fn last_id(&self) -> Option<IdentityId> {
        let last = self.by_id.last().and_then(|&at| self.rows.get(at));
        last.map(|row| IdentityId(row.id))
    }

    /// Returns the next rows that come in, at most so many, as the store takes them: those that keep their number
    /// first. Registered when their table does not say: `now`. Every row is to be [settled](Self::settle).
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
            // Those that got another number when they were taken have no seed here any more.
            let Some(incoming) = row.incoming.as_ref().filter(|_| row.outcome == *outcome) else {
                continue;
            };
            // It was looked at already.
            let Ok(principal) = Principal::new(&row.name, &row.realm, usize::MAX) else {
                continue;
            };
            let identity = ImportedIdentity {
                id: (*outcome == Outcome::New).then_some(IdentityId(row.id)),
                principal,
                seed: incoming.seed.clone(),
                // The old server knew no others.
                parameters: Parameters::default(),
                state: incoming.state,
                created: incoming.created.unwrap_or(now),
                terms: Terms::default(),
            };
            all.push(Taken { at, identity });
        }
        all
    }

    /// Takes into account what came of a row that was taken.
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

    /// Says whether the row comes in.
    pub fn comes_in(&self) -> bool {
        matches!(self.outcome, Outcome::New | Outcome::NewId)
    }
}

/// Finds one of `places`, which are in the order of what `compare` looks at.
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
    // One that cannot come in may be of any length.
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

/// Returns what comes in of a row, as it stands there. The old server cut white space off what was sent, and
/// compared it with the row as it was: one with white space at an end was nobody's, and trimmed it could be an
/// admin's.
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

/// Leaves out all but the first row of each principal; returns where those are, in the order of principals.
fn leave_duplicates_out(rows: &mut [Planned]) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::new();
    places.extend((0..rows.len()).filter(|&at| rows.get(at).is_some_and(Planned::comes_in)));
    // Stable: of rows of one principal the first stays the first.
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
