-- Lists find the rows of a page in these indexes alone: each has the columns by which the others sort and
-- filter. They are built before the tables are locked against readers.
CREATE INDEX identity_by_realm_wide ON @.identity (realm, id) INCLUDE (name, state, expires);
CREATE INDEX identity_by_name_wide ON @.identity (name, id) INCLUDE (realm, state, expires);
CREATE INDEX identity_by_end_wide ON @.identity (coalesce(expires, 9223372036854775807), id)
    INCLUDE (expires, name, realm, state);
CREATE INDEX identity_disabled_wide ON @.identity (id) INCLUDE (realm, name, expires)
    WHERE state = 'disabled';
-- Where a list needs a column of the other table for each row, it looks it up in these.
CREATE INDEX identity_narrow ON @.identity (id) INCLUDE (realm, name, state, expires);
CREATE UNIQUE INDEX identity_use_wide ON @.identity_use (identity) INCLUDE (day, drift);
ALTER TABLE @.identity_use DROP CONSTRAINT identity_use_pkey,
    ADD CONSTRAINT identity_use_pkey PRIMARY KEY USING INDEX identity_use_wide;
DROP INDEX @.identity_by_realm, @.identity_by_name, @.identity_by_end, @.identity_disabled;
ALTER INDEX @.identity_by_realm_wide RENAME TO identity_by_realm;
ALTER INDEX @.identity_by_name_wide RENAME TO identity_by_name;
ALTER INDEX @.identity_by_end_wide RENAME TO identity_by_end;
ALTER INDEX @.identity_disabled_wide RENAME TO identity_disabled;

-- Every change counts, also one of a seed or of a pardon that is made with psql. Only encrypting a seed again
-- is none: its key is another one then.
DROP TRIGGER identity_revised ON @.identity;
CREATE TRIGGER identity_revised BEFORE UPDATE ON @.identity FOR EACH ROW
    WHEN (NEW.revision = OLD.revision
        AND ((NEW.name, NEW.realm, NEW.algorithm, NEW.digits, NEW.period, NEW.state, NEW.created,
                NEW.updated, NEW.previous_until, NEW.not_before, NEW.expires, NEW.comment,
                NEW.pardoned, NEW.seed_made, NEW.previous_made)
            IS DISTINCT FROM (OLD.name, OLD.realm, OLD.algorithm, OLD.digits, OLD.period, OLD.state,
                OLD.created, OLD.updated, OLD.previous_until, OLD.not_before, OLD.expires,
                OLD.comment, OLD.pardoned, OLD.seed_made, OLD.previous_made)
            OR (NEW.seed <> OLD.seed AND substr(NEW.seed, 2, 8) = substr(OLD.seed, 2, 8))
            OR (NEW.previous_seed IS DISTINCT FROM OLD.previous_seed
                AND (NEW.previous_seed IS NULL OR OLD.previous_seed IS NULL
                    OR substr(NEW.previous_seed, 2, 8) = substr(OLD.previous_seed, 2, 8)))))
    EXECUTE FUNCTION @.identity_revised();
