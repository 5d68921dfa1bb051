-- The number of changes of an identity, so that nobody overwrites a change that they have not seen,
-- and when its seeds were made. NULL if that is not known.
ALTER TABLE @.identity
    ADD COLUMN revision      bigint NOT NULL DEFAULT 1,
    ADD COLUMN seed_made     bigint,
    ADD COLUMN previous_made bigint;
CREATE INDEX identity_disabled ON @.identity (id) INCLUDE (realm) WHERE state = 'disabled';

-- The creations of the last day whose requests had an Idempotency-Key.
CREATE TABLE @.creation (
    key      bytea  PRIMARY KEY CHECK (length(key) = 32),
    content  bytea  NOT NULL CHECK (length(content) = 32),
    identity bigint NOT NULL,
    made     bigint NOT NULL
);
CREATE INDEX creation_by_time ON @.creation (made);
