-- Identities. The seed is sealed: see `seal.rs` for its layout.
CREATE TABLE identity (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL,
    realm     TEXT    NOT NULL,
    seed      BLOB    NOT NULL,
    algorithm TEXT    NOT NULL CHECK (algorithm IN ('SHA1', 'SHA256', 'SHA512')),
    digits    INTEGER NOT NULL CHECK (digits BETWEEN 6 AND 8),
    period    INTEGER NOT NULL CHECK (period BETWEEN 1 AND 3600),
    state     TEXT    NOT NULL CHECK (state IN ('enabled', 'disabled')),
    created   INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    UNIQUE (realm, name)
) STRICT;

-- The change log: which principals are no longer what a cache remembers. Every process tails it.
CREATE TABLE change (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    name  TEXT NOT NULL,
    realm TEXT NOT NULL
) STRICT;

-- Triggers write it, so that no writer can forget to.
CREATE TRIGGER identity_inserted AFTER INSERT ON identity BEGIN
    INSERT INTO change (name, realm) VALUES (NEW.name, NEW.realm);
END;
CREATE TRIGGER identity_updated AFTER UPDATE ON identity BEGIN
    INSERT INTO change (name, realm) VALUES (OLD.name, OLD.realm);
    INSERT INTO change (name, realm)
        SELECT NEW.name, NEW.realm WHERE NEW.name <> OLD.name OR NEW.realm <> OLD.realm;
END;
CREATE TRIGGER identity_deleted AFTER DELETE ON identity BEGIN
    INSERT INTO change (name, realm) VALUES (OLD.name, OLD.realm);
END;

-- Which keys the seeds are sealed with, by their id. Never a key.
CREATE TABLE sealing_key (
    id BLOB PRIMARY KEY CHECK (length(id) = 8)
) STRICT;
