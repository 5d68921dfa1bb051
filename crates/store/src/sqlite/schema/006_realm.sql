-- Finds the identities of a realm in the order of their numbers.
CREATE INDEX identity_by_realm ON identity (realm);
