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
