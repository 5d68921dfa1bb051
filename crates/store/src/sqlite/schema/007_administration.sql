-- The number of changes of an identity, so that nobody overwrites a change that they have not seen.
ALTER TABLE identity ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
-- When the seeds were made. NULL if that is not known.
ALTER TABLE identity ADD COLUMN seed_made INTEGER;
ALTER TABLE identity ADD COLUMN previous_made INTEGER;
CREATE INDEX identity_disabled ON identity (id, realm) WHERE state = 'disabled';

-- The creations of the last day whose requests had an Idempotency-Key.
CREATE TABLE creation (
    key      BLOB    PRIMARY KEY CHECK (length(key) = 32),
    content  BLOB    NOT NULL CHECK (length(content) = 32),
    identity INTEGER NOT NULL,
    made     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX creation_by_time ON creation (made);
