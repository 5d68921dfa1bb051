-- Functions that other roles have created must not be called by triggers: these find only those of the system.
ALTER FUNCTION @.begin_change() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_begins() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_truncated() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_sealed() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.session_changed() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_use_begins() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_used() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_added() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_removed() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION @.identity_recounted() SET search_path = pg_catalog, pg_temp;

-- After the last entry, even if the sequence is behind, as logical replication leaves it. Changes are
-- serialized, so nobody else takes the number.
CREATE FUNCTION @.change_next() RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(nextval('@.change_seq'), (SELECT max(seq) + 1 FROM @.change))
$$;
CREATE OR REPLACE FUNCTION @.identity_changed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO @.change VALUES (@.change_next(), OLD.name, OLD.realm);
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND (NEW.name, NEW.realm) <> (OLD.name, OLD.realm)) THEN
        INSERT INTO @.change VALUES (@.change_next(), NEW.name, NEW.realm);
    END IF;
    RETURN NULL;
END $$;

-- Names and realms are not empty, and neither begin nor end with white space. Rows of before may.
ALTER TABLE @.identity
    ADD CONSTRAINT identity_name CHECK (name <> '' AND name !~
        '^[\s\u001C-\u001F\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]|[\s\u001C-\u001F\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]$')
        NOT VALID,
    ADD CONSTRAINT identity_realm CHECK (realm <> '' AND realm !~
        '^[\s\u001C-\u001F\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]|[\s\u001C-\u001F\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]$')
        NOT VALID;

-- No row may make the next one overflow.
ALTER TABLE @.change ADD CONSTRAINT change_seq CHECK (seq < 9000000000000000000) NOT VALID;
ALTER TABLE @.node ADD CONSTRAINT node_seen CHECK (seen BETWEEN 0 AND 253402300799999) NOT VALID;

-- A change made with psql counts too, so that nobody overwrites it without having seen it.
CREATE FUNCTION @.identity_revised() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER identity_revised BEFORE UPDATE ON @.identity FOR EACH ROW
    WHEN (NEW.revision = OLD.revision
        AND (NEW.name, NEW.realm, NEW.algorithm, NEW.digits, NEW.period, NEW.state, NEW.not_before,
            NEW.expires, NEW.comment)
        IS DISTINCT FROM (OLD.name, OLD.realm, OLD.algorithm, OLD.digits, OLD.period, OLD.state,
            OLD.not_before, OLD.expires, OLD.comment))
    EXECUTE FUNCTION @.identity_revised();
