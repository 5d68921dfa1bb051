//! Rows of the database that are no identities.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::CliError;
use super::output::Output;
use super::setup::runtime;
use crate::auth::{Identity, IdentityId, Selection, Store};
use crate::doors::v1::types::Unreadable;
use crate::store::{self, Intent, Options};

/// The number of identities per read.
const PAGE: u32 = 1000;

/// How long `check --connect` reads rows.
const LONGEST: Duration = Duration::from_secs(15);

/// The maximum number of rows of each kind that it names.
const NAMED: usize = 20;

/// Prints a warning for each row that a list leaves out. Returns their number.
pub(super) fn warn_of_rows(rows: impl Iterator<Item = Unreadable>, output: Output) -> usize {
    let mut count = 0;
    for Unreadable { id, problem } in rows {
        output.warn(&format!(
            "row {id} of the table identity is left out: {problem}"
        ));
        count += 1;
    }
    count
}

/// The same for a list that is not complete then.
///
/// # Errors
/// [`CliError::LeftOut`] if there are any.
pub(super) fn complete(
    rows: impl Iterator<Item = Unreadable>,
    output: Output,
) -> Result<(), CliError> {
    match warn_of_rows(rows, output) {
        0 => Ok(()),
        many => Err(CliError::LeftOut(many)),
    }
}

/// Reads the rows of the database, and returns a warning for each one with which nobody can
/// authenticate, and how to mend it.
pub(super) fn of_rows(options: Options) -> Result<Vec<String>, CliError> {
    let found = runtime()?.block_on(look(options));
    Ok(found
        .unwrap_or_else(|error| vec![format!("the rows of the database were not read: {error}")]))
}

async fn look(options: Options) -> Result<Vec<String>, CliError> {
    let store: Arc<dyn Store> = store::open(options, Intent::Read).await?;
    let (began, mut after) = (Instant::now(), IdentityId(i64::MIN));
    let (mut bad, mut broken, mut count) = (Vec::new(), Vec::new(), 0);
    let mut warnings = Vec::new();
    loop {
        let selection = Selection::default();
        let rows = store.identities(&selection, after, PAGE).await?;
        count += rows.identities.len() + rows.bad.len();
        let is_broken = |it: &Identity| it.seeds().is_none_or(|seeds| seeds.present().is_none());
        let of_page = rows.identities.iter().filter(|it| is_broken(it));
        broken.extend(of_page.map(|it| (it.id, it.principal.clone())));
        bad.extend(rows.bad);
        match rows.next {
            None => break,
            Some(next) if began.elapsed() < LONGEST => after = next,
            Some(_) => {
                warnings.push(format!(
                    "only the first {count} identities were read within {} s",
                    LONGEST.as_secs()
                ));
                break;
            }
        }
    }
    let bad = bad.iter().map(|row| {
        let id = row.id.0;
        format!(
            "row {id} of the table identity is no identity, and nobody can authenticate with it: {}. Delete it with \
             DELETE FROM identity WHERE id = {id}; or correct it with UPDATE and, if its name or realm has changed, \
             rotate its seed",
            row.problem
        )
    });
    named(&mut warnings, bad, "rows that are no identities");
    let broken = broken.iter().map(|(id, who)| {
        format!(
            "the seed of {}@{} (id {}) cannot be decrypted, so no token of it is valid: rotate it",
            who.name().escape_debug(),
            who.realm().escape_debug(),
            id.0
        )
    });
    named(&mut warnings, broken, "seeds that cannot be decrypted");
    let steps = store.bad_steps().await?;
    let steps = steps.iter().map(|id| {
        let id = id.0;
        format!(
            "the used one-time tokens of identity {id} cannot be read, so its one-time tokens are rejected: \
             `realmgate identity unthrottle` resets them"
        )
    });
    named(
        &mut warnings,
        steps,
        "identities whose used one-time tokens cannot be read",
    );
    Ok(warnings)
}

/// Adds the first warnings, and how many there are if that is not all.
fn named(warnings: &mut Vec<String>, mut all: impl Iterator<Item = String>, what: &str) {
    warnings.extend(all.by_ref().take(NAMED));
    let more = all.count();
    if more > 0 {
        warnings.push(format!("and {more} more {what}"));
    }
}
