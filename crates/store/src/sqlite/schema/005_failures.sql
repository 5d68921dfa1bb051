-- Failures that are forgiven one by one, under keyed hashes of whose they are. A table of its own, so that a
-- process of an earlier version that is being replaced goes on with the one before until it ends.
CREATE TABLE failure (
    scope  TEXT    NOT NULL CHECK (scope IN ('known', 'unknown', 'source', 'pair', 'trusted')),
    tag    BLOB    NOT NULL CHECK (length(tag) = 16),
    -- When all of them will have been forgiven.
    paid   INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    passed INTEGER NOT NULL,
    -- Which save wrote it last.
    stamp  INTEGER NOT NULL,
    PRIMARY KEY (scope, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX failure_by_stamp ON failure (scope, stamp);

-- The number of the last save, by which other processes find what is new.
CREATE TABLE failure_stamp (
    stamp INTEGER NOT NULL
) STRICT;
INSERT INTO failure_stamp VALUES (1);

-- Failures of principals go on to count. Sources and pairs have other tags now.
INSERT INTO failure (scope, tag, paid, failed, passed, stamp)
    SELECT scope, tag, failed + 900 * min(failures, 16), failed, 0, 1 FROM throttle
    WHERE scope IN ('known', 'unknown') AND failures > 0;
DELETE FROM throttle;
