-- What a key is for: one seals, one that is announced is about to, seeds under a retiring one are re-sealed.
ALTER TABLE sealing_key ADD COLUMN state TEXT NOT NULL DEFAULT 'current'
    CHECK (state IN ('announced', 'current', 'retiring'));
CREATE UNIQUE INDEX sealing_key_current ON sealing_key (state) WHERE state = 'current';

-- Processes that cannot get a key which stands above.
CREATE TABLE key_missing (
    key     BLOB    NOT NULL CHECK (length(key) = 8),
    process INTEGER NOT NULL,
    PRIMARY KEY (key, process)
) STRICT, WITHOUT ROWID;

-- No writer, of whichever version, seals with another key than the current one.
CREATE TRIGGER identity_sealed BEFORE INSERT ON identity
    WHEN substr(NEW.seed, 2, 8) IS NOT (SELECT id FROM sealing_key WHERE state = 'current')
        OR (NEW.previous_seed IS NOT NULL AND substr(NEW.previous_seed, 2, 8)
            IS NOT (SELECT id FROM sealing_key WHERE state = 'current'))
BEGIN
    SELECT RAISE(ABORT, 'the seed is not sealed with the current key');
END;
CREATE TRIGGER identity_resealed BEFORE UPDATE OF seed, previous_seed ON identity
    WHEN (NEW.seed IS NOT OLD.seed AND substr(NEW.seed, 2, 8)
            IS NOT (SELECT id FROM sealing_key WHERE state = 'current'))
        OR (NEW.previous_seed IS NOT NULL AND NEW.previous_seed IS NOT OLD.previous_seed
            AND substr(NEW.previous_seed, 2, 8)
            IS NOT (SELECT id FROM sealing_key WHERE state = 'current'))
BEGIN
    SELECT RAISE(ABORT, 'the seed is not sealed with the current key');
END;
