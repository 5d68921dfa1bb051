-- Finds identities by the beginning of their names in whatever realm.
CREATE INDEX identity_by_name ON identity (name);
