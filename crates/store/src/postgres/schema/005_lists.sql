-- Sorts and filters lists of identities, and counts what an overview shows.

-- When each identity was last used, by the day. One that was never used counts as used when it was
-- created. Each identity has a row, so that lists can be sorted by it. The day is a column of its own,
-- because an update of an indexed column is expensive, and most uses do not change the day.
ALTER TABLE @.identity_use ADD COLUMN day bigint NOT NULL DEFAULT 0;
INSERT INTO @.identity_use (identity, day) SELECT id, created / 86400 FROM @.identity
    ON CONFLICT (identity) DO UPDATE SET day =
        greatest(excluded.day, identity_use.used / 86400, identity_use.previous_used / 86400);
CREATE INDEX identity_by_use ON @.identity_use (day, identity);
CREATE INDEX identity_with_drift ON @.identity_use (identity) WHERE drift <> 0;

-- Triggers keep it, so that a process of an earlier version that is being replaced does too.
CREATE FUNCTION @.identity_use_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO @.identity_use (identity, day) VALUES (NEW.id, NEW.created / 86400);
    RETURN NULL;
END $$;
CREATE TRIGGER identity_use_begins AFTER INSERT ON @.identity
    FOR EACH ROW EXECUTE FUNCTION @.identity_use_begins();
CREATE FUNCTION @.identity_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.day := greatest(NEW.used, NEW.previous_used) / 86400;
    RETURN NEW;
END $$;
CREATE TRIGGER identity_used BEFORE UPDATE ON @.identity_use FOR EACH ROW
    WHEN (greatest(NEW.used, NEW.previous_used) / 86400 > NEW.day)
    EXECUTE FUNCTION @.identity_used();

-- The end of validity. That of those without one comes last.
CREATE INDEX identity_by_end ON @.identity (coalesce(expires, 9223372036854775807), id);

-- Equal names are in the order of their IDs.
DROP INDEX @.identity_by_name;
CREATE INDEX identity_by_name ON @.identity (name, id);

-- A sealed seed has 49 bytes more than the seed: this finds seeds below 128 bits.
CREATE INDEX identity_weak ON @.identity (id) WHERE length(seed) < 65 AND state = 'enabled';

-- The numbers of identities, by realm, and of seeds, by the key that encrypts them. Changes of
-- identities are serialized by `begin_change`, so nobody waits for these rows.
CREATE TABLE @.realm_count (
    realm      text   COLLATE "C" PRIMARY KEY,
    identities bigint NOT NULL,
    disabled   bigint NOT NULL
);
INSERT INTO @.realm_count SELECT realm, count(*), count(*) FILTER (WHERE state = 'disabled')
    FROM @.identity GROUP BY realm;

-- Only shown: what removes a key counts itself.
CREATE TABLE @.seed_count (
    key   bytea  PRIMARY KEY,
    seeds bigint NOT NULL
);
INSERT INTO @.seed_count SELECT key, count(*) FROM (
    SELECT substr(seed, 2, 8) AS key FROM @.identity
    UNION ALL SELECT substr(previous_seed, 2, 8) FROM @.identity WHERE previous_seed IS NOT NULL) k
    GROUP BY key;

CREATE FUNCTION @.identity_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO @.realm_count AS c SELECT realm, count(*),
            count(*) FILTER (WHERE state = 'disabled') FROM added GROUP BY realm
        ON CONFLICT (realm) DO UPDATE SET identities = c.identities + excluded.identities,
            disabled = c.disabled + excluded.disabled;
    INSERT INTO @.seed_count AS c SELECT key, count(*) FROM (
            SELECT substr(seed, 2, 8) AS key FROM added
            UNION ALL SELECT substr(previous_seed, 2, 8) FROM added
                WHERE previous_seed IS NOT NULL) k GROUP BY key
        ON CONFLICT (key) DO UPDATE SET seeds = c.seeds + excluded.seeds;
    RETURN NULL;
END $$;
CREATE TRIGGER identity_added AFTER INSERT ON @.identity
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION @.identity_added();

CREATE FUNCTION @.identity_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE @.realm_count c SET identities = c.identities - k.identities,
            disabled = c.disabled - k.disabled
        FROM (SELECT realm, count(*) AS identities,
                count(*) FILTER (WHERE state = 'disabled') AS disabled
            FROM removed GROUP BY realm) k WHERE c.realm = k.realm;
    DELETE FROM @.realm_count WHERE identities = 0;
    UPDATE @.seed_count c SET seeds = c.seeds - k.seeds FROM (
            SELECT key, count(*) AS seeds FROM (
                SELECT substr(seed, 2, 8) AS key FROM removed
                UNION ALL SELECT substr(previous_seed, 2, 8) FROM removed
                    WHERE previous_seed IS NOT NULL) k GROUP BY key) k WHERE c.key = k.key;
    DELETE FROM @.seed_count WHERE seeds = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER identity_removed AFTER DELETE ON @.identity
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION @.identity_removed();

CREATE FUNCTION @.identity_recounted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO @.realm_count AS c VALUES (NEW.realm, 1, (NEW.state = 'disabled')::integer)
        ON CONFLICT (realm) DO UPDATE SET identities = c.identities + 1,
            disabled = c.disabled + excluded.disabled;
    UPDATE @.realm_count SET identities = identities - 1,
        disabled = disabled - (OLD.state = 'disabled')::integer WHERE realm = OLD.realm;
    DELETE FROM @.realm_count WHERE realm = OLD.realm AND identities = 0;
    INSERT INTO @.seed_count AS c SELECT substr(s, 2, 8), count(*)
            FROM unnest(ARRAY[NEW.seed, NEW.previous_seed]) s WHERE s IS NOT NULL
            GROUP BY substr(s, 2, 8)
        ON CONFLICT (key) DO UPDATE SET seeds = c.seeds + excluded.seeds;
    UPDATE @.seed_count c SET seeds = c.seeds - k.seeds FROM (
            SELECT substr(s, 2, 8) AS key, count(*) AS seeds
            FROM unnest(ARRAY[OLD.seed, OLD.previous_seed]) s WHERE s IS NOT NULL
            GROUP BY substr(s, 2, 8)) k WHERE c.key = k.key;
    DELETE FROM @.seed_count WHERE seeds = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER identity_recounted AFTER UPDATE ON @.identity FOR EACH ROW
    WHEN (NEW.realm <> OLD.realm OR NEW.state <> OLD.state
        OR substr(NEW.seed, 2, 8) <> substr(OLD.seed, 2, 8)
        OR substr(NEW.previous_seed, 2, 8) IS DISTINCT FROM substr(OLD.previous_seed, 2, 8))
    EXECUTE FUNCTION @.identity_recounted();
