-- Gives the catalogue a new revision when a transaction changes a world or a lesson: the transaction's id, which is
-- unique. The triggers are deferred to the commit: the revision's row is then the last one that the transaction locks,
-- so there is no deadlock on it. It is written once, however many rows the transaction changed.
CREATE FUNCTION note_catalogue_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO catalogue_revision (revision) VALUES (pg_current_xact_id()::text::bigint)
    ON CONFLICT (is_only) DO UPDATE SET revision = excluded.revision
        WHERE catalogue_revision.revision <> excluded.revision;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER world_changes_the_catalogue AFTER INSERT OR UPDATE OR DELETE ON world
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_catalogue_change();

CREATE CONSTRAINT TRIGGER lesson_changes_the_catalogue AFTER INSERT OR UPDATE OR DELETE ON lesson
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_catalogue_change();
