-- All data of realmgate in PostgreSQL. An @ stands for the schema.
CREATE TABLE @.realmgate_schema (
    version integer NOT NULL
);

-- Identities. Seeds are encrypted, in the format of `seal.rs`. Times are in seconds since 1970.
CREATE SEQUENCE @.identity_number;
CREATE TABLE @.identity (
    id             bigint  PRIMARY KEY DEFAULT nextval('@.identity_number'),
    name           text    COLLATE "C" NOT NULL,
    realm          text    COLLATE "C" NOT NULL,
    seed           bytea   NOT NULL,
    algorithm      text    NOT NULL CHECK (algorithm IN ('SHA1', 'SHA256', 'SHA512')),
    digits         integer NOT NULL CHECK (digits BETWEEN 6 AND 8),
    period         integer NOT NULL CHECK (period BETWEEN 1 AND 3600),
    state          text    NOT NULL CHECK (state IN ('enabled', 'disabled')),
    created        bigint  NOT NULL,
    updated        bigint  NOT NULL,
    previous_seed  bytea,
    previous_until bigint,
    not_before     bigint,
    expires        bigint,
    comment        text,
    -- Failures before this no longer count.
    pardoned       bigint  NOT NULL DEFAULT 0,
    CONSTRAINT identity_principal UNIQUE (realm, name)
);
CREATE INDEX identity_by_name ON @.identity (name);
CREATE INDEX identity_by_realm ON @.identity (realm, id);

-- The last uses of identities. A separate table, so that a use is not a change that caches must
-- process.
CREATE TABLE @.identity_use (
    identity      bigint PRIMARY KEY REFERENCES @.identity ON DELETE CASCADE,
    used          bigint NOT NULL DEFAULT 0,
    previous_used bigint NOT NULL DEFAULT 0,
    drift         bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- The used steps of identities with one-time tokens.
CREATE TABLE @.spent (
    identity bigint PRIMARY KEY REFERENCES @.identity ON DELETE CASCADE,
    steps    bytea  NOT NULL
) WITH (fillfactor = 70);

-- The timelines of the server, and when each was first seen: one begins with each failover.
CREATE TABLE @.timeline (
    id    text   PRIMARY KEY,
    since bigint NOT NULL
);
INSERT INTO @.timeline VALUES (left(pg_walfile_name(pg_current_wal_lsn()), 8), 0);

-- The change log: the principals whose cache entries are outdated. Every process reads it.
CREATE SEQUENCE @.change_seq;
CREATE TABLE @.change (
    seq   bigint PRIMARY KEY,
    name  text   COLLATE "C" NOT NULL,
    realm text   COLLATE "C" NOT NULL
);

-- Serializes changes of identities and keys. So the positions of the change log are in the order of
-- the commits, and a reader that is at a position has missed none before it.
CREATE FUNCTION @.begin_change() RETURNS void LANGUAGE sql AS $$
    SELECT pg_catalog.pg_advisory_xact_lock(
        (1919774055::bigint << 32) | '@.identity'::regclass::oid::bigint)
$$;

-- Triggers write the change log, so that no writer can bypass it, not even psql.
CREATE FUNCTION @.identity_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM @.begin_change();
    RETURN NULL;
END $$;
CREATE TRIGGER identity_begins BEFORE INSERT OR UPDATE OR DELETE ON @.identity
    FOR EACH STATEMENT EXECUTE FUNCTION @.identity_begins();

CREATE FUNCTION @.identity_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO @.change VALUES (nextval('@.change_seq'), OLD.name, OLD.realm);
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND (NEW.name, NEW.realm) <> (OLD.name, OLD.realm)) THEN
        INSERT INTO @.change VALUES (nextval('@.change_seq'), NEW.name, NEW.realm);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER identity_changed AFTER INSERT OR UPDATE OR DELETE ON @.identity
    FOR EACH ROW EXECUTE FUNCTION @.identity_changed();

CREATE FUNCTION @.identity_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'identities are deleted with DELETE, which the change log records';
END $$;
CREATE TRIGGER identity_truncated BEFORE TRUNCATE ON @.identity
    FOR EACH STATEMENT EXECUTE FUNCTION @.identity_truncated();

-- The IDs of the encryption keys and their roles: the current one encrypts, an announced one is
-- about to, and the seeds of a retiring one are being re-encrypted. Never contains a key.
CREATE TABLE @.sealing_key (
    id    bytea PRIMARY KEY CHECK (length(id) = 8),
    state text  NOT NULL DEFAULT 'current' CHECK (state IN ('announced', 'current', 'retiring'))
);
CREATE UNIQUE INDEX sealing_key_current ON @.sealing_key (state) WHERE state = 'current';

-- Processes that do not have one of these keys.
CREATE TABLE @.key_missing (
    key     bytea  NOT NULL CHECK (length(key) = 8),
    node    text   NOT NULL,
    process bigint NOT NULL,
    PRIMARY KEY (key, node, process)
);

-- No writer, of any version, may encrypt with another key than the current one.
CREATE FUNCTION @.identity_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    current_key bytea := (SELECT id FROM @.sealing_key WHERE state = 'current');
BEGIN
    IF (TG_OP = 'INSERT' OR NEW.seed IS DISTINCT FROM OLD.seed)
        AND substr(NEW.seed, 2, 8) IS DISTINCT FROM current_key THEN
        RAISE EXCEPTION 'the seed is not sealed with the current key';
    END IF;
    IF NEW.previous_seed IS NOT NULL
        AND (TG_OP = 'INSERT' OR NEW.previous_seed IS DISTINCT FROM OLD.previous_seed)
        AND substr(NEW.previous_seed, 2, 8) IS DISTINCT FROM current_key THEN
        RAISE EXCEPTION 'the seed is not sealed with the current key';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER identity_sealed BEFORE INSERT OR UPDATE OF seed, previous_seed ON @.identity
    FOR EACH ROW EXECUTE FUNCTION @.identity_sealed();

-- Failures, forgiven one by one, under keyed hashes of principals and sources.
CREATE TABLE @.failure (
    scope  text   NOT NULL CHECK (scope IN ('known', 'unknown', 'source', 'pair', 'trusted')),
    tag    bytea  NOT NULL CHECK (length(tag) = 16),
    -- The time at which all of them will have been forgiven.
    paid   bigint NOT NULL,
    failed bigint NOT NULL,
    passed bigint NOT NULL,
    -- The save that wrote it last.
    stamp  bigint NOT NULL,
    PRIMARY KEY (scope, tag)
);
CREATE INDEX failure_by_stamp ON @.failure (scope, stamp);
CREATE TABLE @.throttle_key (
    key bytea NOT NULL CHECK (length(key) = 16)
);
INSERT INTO @.throttle_key VALUES (
    substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16));
-- The number of the last save, by which other processes find new records.
CREATE TABLE @.failure_stamp (
    stamp bigint NOT NULL
);
INSERT INTO @.failure_stamp VALUES (1);
