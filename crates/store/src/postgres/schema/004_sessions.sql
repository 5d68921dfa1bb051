-- Sessions of administrators, and links that begin one, by the hash of their secrets.
CREATE TABLE @.session (
    id       bytea  PRIMARY KEY CHECK (length(id) = 32),
    kind     text   NOT NULL CHECK (kind IN ('session', 'link')),
    identity bigint NOT NULL REFERENCES @.identity ON DELETE CASCADE,
    name     text   COLLATE "C" NOT NULL,
    realm    text   COLLATE "C" NOT NULL,
    made     bigint NOT NULL,
    seen     bigint NOT NULL,
    source   text
);
CREATE INDEX session_by_identity ON @.session (identity, made);

-- They end with what began them, whoever changes it. Encrypting a seed again leaves the revision as it is.
CREATE FUNCTION @.session_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM @.session WHERE identity = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER session_changed AFTER UPDATE ON @.identity FOR EACH ROW
    WHEN (NEW.state <> 'enabled' OR (NEW.name, NEW.realm) <> (OLD.name, OLD.realm)
        OR (NEW.seed <> OLD.seed AND NEW.revision <> OLD.revision))
    EXECUTE FUNCTION @.session_changed();
