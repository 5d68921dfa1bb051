-- The processes that serve, as each last recorded itself. One that is shut down deletes its row.
CREATE TABLE @.node (
    id       bytea  PRIMARY KEY CHECK (length(id) = 8),
    name     text   COLLATE "C" NOT NULL CHECK (length(name) <= 64),
    version  text   NOT NULL CHECK (length(version) <= 64),
    -- The digest of its configuration.
    config   text   NOT NULL CHECK (length(config) <= 64),
    -- When it started and when it loaded its configuration, by its own clock.
    started  bigint NOT NULL,
    loaded   bigint NOT NULL,
    -- The position of the change log that its cache reflected, and the number of entries after it.
    position bigint NOT NULL,
    behind   bigint NOT NULL,
    -- When it recorded this, in milliseconds since 1970 by the clock of the server.
    seen     bigint NOT NULL
) WITH (fillfactor = 50);
