-- When an identity may authenticate, and the seed it had before, while that counts.
ALTER TABLE identity ADD COLUMN previous_seed BLOB;
ALTER TABLE identity ADD COLUMN previous_until INTEGER;
ALTER TABLE identity ADD COLUMN not_before INTEGER;
ALTER TABLE identity ADD COLUMN expires INTEGER;
ALTER TABLE identity ADD COLUMN comment TEXT;
-- Failures before this no longer count.
ALTER TABLE identity ADD COLUMN pardoned INTEGER NOT NULL DEFAULT 0;

-- When identities were used last. Apart, so that a use is no change that caches must hear of.
CREATE TABLE identity_use (
    identity      INTEGER PRIMARY KEY,
    used          INTEGER NOT NULL DEFAULT 0,
    previous_used INTEGER NOT NULL DEFAULT 0,
    drift         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The spent steps of identities whose tokens are good for one use.
CREATE TABLE spent (
    identity INTEGER PRIMARY KEY,
    steps    BLOB NOT NULL
) STRICT;

CREATE TRIGGER identity_gone AFTER DELETE ON identity BEGIN
    DELETE FROM identity_use WHERE identity = OLD.id;
    DELETE FROM spent WHERE identity = OLD.id;
END;

-- Counts of failures, under keyed hashes of whose they are.
CREATE TABLE throttle (
    scope    TEXT    NOT NULL CHECK (scope IN ('known', 'unknown', 'source', 'pair')),
    tag      BLOB    NOT NULL CHECK (length(tag) = 16),
    failures INTEGER NOT NULL,
    failed   INTEGER NOT NULL,
    passed   INTEGER NOT NULL,
    PRIMARY KEY (scope, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE throttle_key (
    key BLOB NOT NULL CHECK (length(key) = 16)
) STRICT;
INSERT INTO throttle_key VALUES (randomblob(16));
