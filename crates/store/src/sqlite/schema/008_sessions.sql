-- Sessions of administrators, and links that begin one, by the hash of their secrets.
CREATE TABLE session (
    id       BLOB    PRIMARY KEY CHECK (length(id) = 32),
    kind     TEXT    NOT NULL CHECK (kind IN ('session', 'link')),
    identity INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    realm    TEXT    NOT NULL,
    made     INTEGER NOT NULL,
    seen     INTEGER NOT NULL,
    source   TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_identity ON session (identity, made);

-- They end with what began them, whoever changes it. Encrypting a seed again leaves the revision as it is.
CREATE TRIGGER session_changed AFTER UPDATE ON identity
    WHEN NEW.state <> 'enabled' OR NEW.name <> OLD.name OR NEW.realm <> OLD.realm
        OR (NEW.seed IS NOT OLD.seed AND NEW.revision <> OLD.revision)
BEGIN
    DELETE FROM session WHERE identity = OLD.id;
END;
CREATE TRIGGER session_deleted AFTER DELETE ON identity BEGIN
    DELETE FROM session WHERE identity = OLD.id;
END;
