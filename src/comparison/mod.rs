//! Compares what two configurations permit, over all requests and callers.
//!
//! Requests that neither configuration tells apart are a class. Each class has one request that
//! stands for it, and the route tables of both configurations decide that request. Classes that no
//! changed route can match are skipped: the same routes match them in both, in the same order.

mod callers;
mod changes;
mod hosts;
mod kept;
mod lines;
mod pairs;
mod position;
mod segments;
mod sentence;
mod side;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::config::{Config, Route};
use hosts::Hosts;
use lines::Line;
use pairs::Pairs;
use side::Side;
use walk::Walk;

pub use sentence::{Comparison, Item};

/// Why two configurations cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CompareError {
    /// It takes more than this number of steps.
    #[error(
        "the routes cannot be compared in {0} steps: too many of them match the same hosts and paths"
    )]
    TooMany(usize),
    /// A path has too many segments.
    #[error("the routes cannot be compared: a path has more than {SEGMENTS} segments")]
    TooDeep,
}

/// The maximum number of steps of a command. A step is about one route for one class of requests.
pub const STEPS: usize = 5_000_000;

/// The maximum number of segments of a path.
const SEGMENTS: usize = 256;

/// The differences at the hosts of a class, by its index.
type AtHost = (usize, Vec<Line>);

/// Compares what the routes of two configurations permit. `steps` limits the work.
///
/// # Errors
/// [`CompareError`].
pub fn compare(old: &Config, new: &Config, steps: usize) -> Result<Comparison, CompareError> {
    let mut pairs = Pairs::default();
    let (hosts, found) = differences(old, new, steps, &mut pairs)?;
    Ok(sentence::comparison(found, &hosts, &pairs, [old, new]))
}

fn differences(
    old: &Config,
    new: &Config,
    steps: usize,
    pairs: &mut Pairs,
) -> Result<(Hosts, Vec<AtHost>), CompareError> {
    let depth = |route: &Route| route.paths.iter().map(|it| it.segments().count()).max();
    let mut routes = old.routes.iter().chain(&new.routes);
    if routes.any(|route| depth(route) > Some(SEGMENTS)) {
        return Err(CompareError::TooDeep);
    }
    let sides = [Side::new(old, pairs), Side::new(new, pairs)];
    let hosts = Hosts::new(&kept::entries(&sides));
    let mut left = steps;
    let mut found = Vec::new();
    for class in hosts.classes() {
        let mut walk = Walk::new(&sides, pairs, &hosts, class.host(), &mut left);
        let lines = walk.run().ok_or(CompareError::TooMany(steps))?;
        if !lines.is_empty() {
            found.push((class.index(), lines));
        }
    }
    Ok((hosts, found))
}
