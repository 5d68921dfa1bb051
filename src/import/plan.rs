use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::django::Row;
use crate::auth::{
    Capability, Identity, IdentityId, ImportedIdentity, Parameters, Principal, PrincipalError,
    Realms, Seed, SeedError, State, Strength, Terms, UnixTime, trim,
};

/// The numbers that a row keeps. Above, JSON readers round; and after the highest of all, the store
/// would have no next one to give.
const KEPT: RangeInclusive<i64> = 1..=(1 << 53);

/// What becomes of each row.
#[derive(Clone, Debug)]
pub struct Plan {
    rows: Vec<Planned>,
    /// Where the row of a principal is, of those that come in.
    by_principal: HashMap<Principal, usize>,
    /// Where the row of a number is, of those that come in and keep it.
    by_id: HashMap<i64, usize>,
}

/// What becomes of one row.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its number there.
    pub id: i64,
    /// Its name, trimmed; as it is if it cannot be one.
    pub name: String,
    /// Its realm, likewise.
    pub realm: String,
    /// Whether it comes in.
    pub outcome: Outcome,
    /// What one should know of it.
    pub notes: Vec<Note>,
    /// What the store would take.
    incoming: Option<Incoming>,
}

#[derive(Clone, Debug)]
struct Incoming {
    principal: Principal,
    seed: Seed,
    state: State,
    created: Option<UnixTime>,
}

/// Whether a row comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Under its own number.
    New,
    /// Under a new number: its own is another identity's, or none that the store gives.
    NewId,
    /// It is here already, with the same seed.
    Unchanged,
    /// It stays out.
    LeftOut(Reason),
}

/// Why a row stays out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its name or realm cannot be one.
    Principal(PrincipalError),
    /// Its name or realm is no UTF-8.
    Encoding,
    /// Its seed cannot be used: no token ever proved it.
    Seed(SeedError),
    /// Another row has that name in that realm, once white space around them is cut off.
    Duplicate {
        /// The row that counts.
        of: i64,
    },
    /// The principal is here already, with another seed.
    OtherSeed {
        /// Its number here.
        here: i64,
    },
}

/// What one should know of a row that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Its seed has fewer than 128 bits (RFC 4226 §4, R6).
    Weak {
        /// How many it has.
        bits: usize,
    },
    /// Django's `is_active` was off: it comes in disabled.
    Disabled,
    /// White space around its name or realm was cut off, as the old server did of what was sent.
    Trimmed,
    /// Its realm is a reserved one: it may do this.
    Reserved(Reserved),
}

/// What a reserved realm gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Administer identities.
    Admin,
    /// Verify the tokens of others.
    Auth,
}

impl Plan {
    /// Plans what becomes of `rows` in an empty store; `limit` is the most characters of a name and of a
    /// realm.
    ///
    /// Of rows with the same name and realm the one that needed no trimming counts, else the one with
    /// the lowest number.
    pub fn new(rows: &[Row], realms: &Realms, limit: usize) -> Self {
        let mut rows: Vec<_> = rows.iter().map(|row| read(row, realms, limit)).collect();
        let by_principal = leave_duplicates_out(&mut rows);
        let mut by_id = HashMap::new();
        for (at, row) in rows.iter_mut().enumerate() {
            if row.outcome == Outcome::New
                && (!KEPT.contains(&row.id) || by_id.insert(row.id, at).is_some())
            {
                row.outcome = Outcome::NewId;
            }
        }
        Self {
            rows,
            by_principal,
            by_id,
        }
    }

    /// Takes into account that an identity is here already; to be called with each, in any order.
    pub fn meet(&mut self, here: &Identity) {
        // The principal is looked at last: a row that is here already needs no number.
        if let Some(row) = self.by_id.get(&here.id.0).copied()
            && let Some(row) = self.rows.get_mut(row)
            && row.outcome == Outcome::New
        {
            row.outcome = Outcome::NewId;
        }
        if let Some(row) = self.by_principal.get(&here.principal).copied()
            && let Some(row) = self.rows.get_mut(row)
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

    /// Makes what the store takes: those that keep their number first, so that no new number is one that
    /// is still to come. Registered when their table does not say: `now`.
    pub fn identities(&self, now: UnixTime) -> Vec<ImportedIdentity> {
        let (keep, renumber): (Vec<_>, Vec<_>) = self
            .rows
            .iter()
            .partition(|row| row.outcome == Outcome::New);
        let all = keep.into_iter().chain(renumber);
        all.filter_map(|row| {
            let incoming = row.incoming.as_ref()?;
            Some(ImportedIdentity {
                id: (row.outcome == Outcome::New).then_some(IdentityId(row.id)),
                principal: incoming.principal.clone(),
                seed: incoming.seed.clone(),
                // The old server knew no others.
                parameters: Parameters::default(),
                state: incoming.state,
                created: incoming.created.unwrap_or(now),
                terms: Terms::default(),
            })
        })
        .collect()
    }
}

impl Planned {
    /// Says whether the row comes in.
    pub fn comes_in(&self) -> bool {
        matches!(self.outcome, Outcome::New | Outcome::NewId)
    }
}

fn read(row: &Row, realms: &Realms, limit: usize) -> Planned {
    let shown = |text: &Option<String>| text.as_deref().map_or("\u{fffd}", trim).to_owned();
    let (name, realm) = (shown(&row.name), shown(&row.realm));
    let mut notes = Vec::new();
    let incoming = incoming(row, &name, &realm, limit);
    if let Ok(incoming) = &incoming {
        if incoming.seed.strength() == Strength::Weak {
            let bits = incoming.seed.as_bytes().len() * 8;
            notes.push(Note::Weak { bits });
        }
        if incoming.state == State::Disabled {
            notes.push(Note::Disabled);
        }
        if is_untrimmed(row) {
            notes.push(Note::Trimmed);
        }
        if realms.grant(&realm, Capability::Create) {
            notes.push(Note::Reserved(Reserved::Admin));
        } else if realms.grant(&realm, Capability::Verify) {
            notes.push(Note::Reserved(Reserved::Auth));
        }
    }
    let (outcome, incoming) = match incoming {
        Ok(incoming) => (Outcome::New, Some(incoming)),
        Err(reason) => (Outcome::LeftOut(reason), None),
    };
    Planned {
        id: row.id,
        name,
        realm,
        outcome,
        notes,
        incoming,
    }
}

fn incoming(row: &Row, name: &str, realm: &str, limit: usize) -> Result<Incoming, Reason> {
    if row.name.is_none() || row.realm.is_none() {
        return Err(Reason::Encoding);
    }
    Ok(Incoming {
        principal: Principal::new(name, realm, limit).map_err(Reason::Principal)?,
        seed: Seed::from_base32(trim(&row.seed)).map_err(Reason::Seed)?,
        state: if row.active {
            State::Enabled
        } else {
            State::Disabled
        },
        created: row.created,
    })
}

fn is_untrimmed(row: &Row) -> bool {
    let untrimmed = |text: &Option<String>| text.as_deref().is_some_and(|it| trim(it) != it);
    untrimmed(&row.name) || untrimmed(&row.realm)
}

/// Leaves out all but one row of each principal; returns where those are.
fn leave_duplicates_out(rows: &mut [Planned]) -> HashMap<Principal, usize> {
    let mut first: HashMap<Principal, (bool, i64, usize)> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(incoming) = &row.incoming else {
            continue;
        };
        let rank = (row.notes.contains(&Note::Trimmed), row.id, at);
        first
            .entry(incoming.principal.clone())
            .and_modify(|first| *first = rank.min(*first))
            .or_insert(rank);
    }
    for (at, row) in rows.iter_mut().enumerate() {
        let counts = row
            .incoming
            .as_ref()
            .and_then(|incoming| first.get(&incoming.principal));
        if let Some(&(_, of, first)) = counts
            && first != at
        {
            row.outcome = Outcome::LeftOut(Reason::Duplicate { of });
            row.incoming = None;
        }
    }
    first
        .into_iter()
        .map(|(principal, (_, _, at))| (principal, at))
        .collect()
}

fn compare(here: &Identity, seed: &Seed) -> Outcome {
    let same = here.totp.as_ref().is_some_and(|totp| totp.seed() == *seed);
    if same {
        Outcome::Unchanged
    } else {
        Outcome::LeftOut(Reason::OtherSeed { here: here.id.0 })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(error) => error.fmt(f),
            Self::Encoding => f.write_str("the name or the realm is not UTF-8"),
            Self::Seed(error) => error.fmt(f),
            Self::Duplicate { of } => write!(f, "the same name and realm as row {of}"),
            Self::OtherSeed { here } => {
                write!(
                    f,
                    "identity {here} here has that name and realm and another seed"
                )
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weak { bits } => write!(f, "weak seed of {bits} bits, rotate it"),
            Self::Disabled => f.write_str("disabled, as is_active was off"),
            Self::Trimmed => f.write_str("white space around it cut off"),
            Self::Reserved(Reserved::Admin) => f.write_str("may administer identities"),
            Self::Reserved(Reserved::Auth) => f.write_str("may verify tokens"),
        }
    }
}

#[cfg(test)]
mod tests;
