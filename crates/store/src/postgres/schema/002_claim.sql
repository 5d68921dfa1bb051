-- The right to evaluate one more attempt at a principal, under the keyed hashes of `failure`. A crash
-- of the server may empty it: each principal then gets one more attempt.
CREATE UNLOGGED TABLE @.claim (
    scope   text    NOT NULL CHECK (scope IN ('known', 'unknown')),
    tag     bytea   NOT NULL CHECK (length(tag) = 16),
    -- Until when nobody else gets it, in milliseconds since 1970 by the clock of the server.
    until   bigint  NOT NULL,
    -- Whether the attempt is being evaluated. Others then wait for its outcome.
    is_open boolean NOT NULL,
    PRIMARY KEY (scope, tag)
);
