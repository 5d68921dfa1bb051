-- Every change counts, also one that is made with sqlite3, so that nobody overwrites it without having seen it. A
-- replaced seed ends the sessions that it began. Only encrypting a seed again is no change: its key is another one then.
CREATE TRIGGER identity_revised AFTER UPDATE ON identity
    WHEN NEW.revision = OLD.revision
        AND (NEW.name <> OLD.name OR NEW.realm <> OLD.realm OR NEW.algorithm <> OLD.algorithm
            OR NEW.digits <> OLD.digits OR NEW.period <> OLD.period OR NEW.state <> OLD.state
            OR NEW.created <> OLD.created OR NEW.updated <> OLD.updated
            OR NEW.previous_until IS NOT OLD.previous_until
            OR NEW.not_before IS NOT OLD.not_before OR NEW.expires IS NOT OLD.expires
            OR NEW.comment IS NOT OLD.comment OR NEW.pardoned <> OLD.pardoned
            OR NEW.seed_made IS NOT OLD.seed_made OR NEW.previous_made IS NOT OLD.previous_made
            OR (NEW.seed <> OLD.seed AND substr(NEW.seed, 2, 8) = substr(OLD.seed, 2, 8))
            OR (NEW.previous_seed IS NOT OLD.previous_seed
                AND (NEW.previous_seed IS NULL OR OLD.previous_seed IS NULL
                    OR substr(NEW.previous_seed, 2, 8) = substr(OLD.previous_seed, 2, 8))))
BEGIN
    DELETE FROM session WHERE identity = OLD.id AND NEW.seed <> OLD.seed;
    UPDATE identity SET revision = revision + 1 WHERE id = NEW.id;
END;
