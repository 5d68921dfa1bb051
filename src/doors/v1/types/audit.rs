//! The names in the audit log.

use std::fmt;
use std::str::FromStr;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::audit::{Kind, REASONS, find_reason};

/// An event of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEvent(pub Kind);

/// A reason in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditReason(pub &'static str);

/// The text is no such name.
#[derive(Clone, Debug)]
pub struct UnknownName(Vec<&'static str>);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one of {}", self.0.join(", "))
    }
}

fn events() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.as_str()).collect()
}

fn reasons() -> Vec<&'static str> {
    let reasons = REASONS.iter().flat_map(|(_, reasons)| *reasons);
    reasons.copied().collect()
}

impl FromStr for AuditEvent {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Kind::ALL.iter().find(|kind| kind.as_str() == text);
        found
            .map(|kind| Self(*kind))
            .ok_or_else(|| UnknownName(events()))
    }
}

impl FromStr for AuditReason {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = find_reason(text);
        found.map(Self).ok_or_else(|| UnknownName(reasons()))
    }
}

fn one_of(names: Vec<&'static str>) -> RefOr<Schema> {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    schema.enum_values(Some(names)).into()
}

impl PartialSchema for AuditEvent {
    fn schema() -> RefOr<Schema> {
        one_of(events())
    }
}

impl PartialSchema for AuditReason {
    fn schema() -> RefOr<Schema> {
        one_of(reasons())
    }
}

impl ToSchema for AuditEvent {}
impl ToSchema for AuditReason {}
