-- Sorts and filters lists of identities, and counts what an overview shows.

-- When each identity was last used, by the day. One that was never used counts as used when it was
-- created. Each identity has a row, so that lists can be sorted by it.
ALTER TABLE identity_use ADD COLUMN day INTEGER NOT NULL DEFAULT 0;
INSERT INTO identity_use (identity) SELECT id FROM identity
    WHERE id NOT IN (SELECT identity FROM identity_use);
UPDATE identity_use SET day = coalesce((SELECT max(used, previous_used, created) / 86400 FROM identity
    WHERE id = identity), 0);
CREATE INDEX identity_by_use ON identity_use (day, identity);
CREATE INDEX identity_with_drift ON identity_use (identity) WHERE drift <> 0;

-- Triggers keep it, so that a process of an earlier version that is being replaced does too.
CREATE TRIGGER identity_use_begins AFTER INSERT ON identity BEGIN
    INSERT INTO identity_use (identity, day) VALUES (NEW.id, NEW.created / 86400);
END;
CREATE TRIGGER identity_used AFTER UPDATE OF used, previous_used ON identity_use
    WHEN max(NEW.used, NEW.previous_used) / 86400 > NEW.day
BEGIN
    UPDATE identity_use SET day = max(NEW.used, NEW.previous_used) / 86400
        WHERE identity = NEW.identity;
END;

-- The end of validity. That of those without one comes last.
ALTER TABLE identity ADD COLUMN ends INTEGER
    GENERATED ALWAYS AS (coalesce(expires, 9223372036854775807)) VIRTUAL;
CREATE INDEX identity_by_end ON identity (ends, id);

-- A sealed seed has 49 bytes more than the seed: this finds seeds below 128 bits.
CREATE INDEX identity_weak ON identity (id) WHERE length(seed) < 65 AND state = 'enabled';

-- The numbers of identities, by realm.
CREATE TABLE realm_count (
    realm      TEXT    PRIMARY KEY,
    identities INTEGER NOT NULL DEFAULT 0,
    disabled   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO realm_count SELECT realm, count(*), count(*) FILTER (WHERE state = 'disabled')
    FROM identity GROUP BY realm;
CREATE TRIGGER realm_counted_insert AFTER INSERT ON identity BEGIN
    INSERT OR IGNORE INTO realm_count (realm) VALUES (NEW.realm);
    UPDATE realm_count SET identities = identities + 1, disabled = disabled + (NEW.state = 'disabled')
        WHERE realm = NEW.realm;
END;
CREATE TRIGGER realm_counted_delete AFTER DELETE ON identity BEGIN
    UPDATE realm_count SET identities = identities - 1, disabled = disabled - (OLD.state = 'disabled')
        WHERE realm = OLD.realm;
    DELETE FROM realm_count WHERE realm = OLD.realm AND identities = 0;
END;
CREATE TRIGGER realm_counted_update AFTER UPDATE OF realm, state ON identity
    WHEN NEW.realm <> OLD.realm OR NEW.state <> OLD.state
BEGIN
    INSERT OR IGNORE INTO realm_count (realm) VALUES (NEW.realm);
    UPDATE realm_count SET identities = identities + 1, disabled = disabled + (NEW.state = 'disabled')
        WHERE realm = NEW.realm;
    UPDATE realm_count SET identities = identities - 1, disabled = disabled - (OLD.state = 'disabled')
        WHERE realm = OLD.realm;
    DELETE FROM realm_count WHERE realm = OLD.realm AND identities = 0;
END;

-- The numbers of seeds, by the key that encrypts them. Only shown: what removes a key counts itself.
CREATE TABLE seed_count (
    key   BLOB    PRIMARY KEY,
    seeds INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO seed_count SELECT key, count(*) FROM (
    SELECT substr(seed, 2, 8) AS key FROM identity
    UNION ALL SELECT substr(previous_seed, 2, 8) FROM identity WHERE previous_seed IS NOT NULL)
    GROUP BY key;
CREATE TRIGGER seed_counted_insert AFTER INSERT ON identity BEGIN
    INSERT OR IGNORE INTO seed_count (key) VALUES (substr(NEW.seed, 2, 8));
    UPDATE seed_count SET seeds = seeds + 1 WHERE key = substr(NEW.seed, 2, 8);
    INSERT OR IGNORE INTO seed_count (key) SELECT substr(NEW.previous_seed, 2, 8)
        WHERE NEW.previous_seed IS NOT NULL;
    UPDATE seed_count SET seeds = seeds + 1 WHERE key = substr(NEW.previous_seed, 2, 8);
END;
CREATE TRIGGER seed_counted_delete AFTER DELETE ON identity BEGIN
    UPDATE seed_count SET seeds = seeds - 1 WHERE key = substr(OLD.seed, 2, 8);
    UPDATE seed_count SET seeds = seeds - 1 WHERE key = substr(OLD.previous_seed, 2, 8);
    DELETE FROM seed_count WHERE seeds = 0;
END;
CREATE TRIGGER seed_counted_update AFTER UPDATE OF seed, previous_seed ON identity
    WHEN substr(NEW.seed, 2, 8) IS NOT substr(OLD.seed, 2, 8)
        OR substr(NEW.previous_seed, 2, 8) IS NOT substr(OLD.previous_seed, 2, 8)
BEGIN
    INSERT OR IGNORE INTO seed_count (key) VALUES (substr(NEW.seed, 2, 8));
    UPDATE seed_count SET seeds = seeds + 1 WHERE key = substr(NEW.seed, 2, 8);
    INSERT OR IGNORE INTO seed_count (key) SELECT substr(NEW.previous_seed, 2, 8)
        WHERE NEW.previous_seed IS NOT NULL;
    UPDATE seed_count SET seeds = seeds + 1 WHERE key = substr(NEW.previous_seed, 2, 8);
    UPDATE seed_count SET seeds = seeds - 1 WHERE key = substr(OLD.seed, 2, 8);
    UPDATE seed_count SET seeds = seeds - 1 WHERE key = substr(OLD.previous_seed, 2, 8);
    DELETE FROM seed_count WHERE seeds = 0;
END;
