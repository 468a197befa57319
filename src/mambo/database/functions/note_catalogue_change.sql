-- Gives the catalogue, and each course that a transaction changes, a new revision: the transaction's id, which is
-- unique. A lesson that moves changes both of its courses.
--
-- The triggers are deferred to the commit. The row of catalogue_revision is then the last row that the transaction waits
-- for, so there is no deadlock on it. A transaction that writes to course_revision holds that row, so there is none on
-- those rows either, in whatever order two transactions changed the same courses.
CREATE FUNCTION note_catalogue_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    new_revision bigint := pg_current_xact_id()::text::bigint;
    courses uuid[];
BEGIN
    IF TG_TABLE_NAME = 'world' THEN
        courses := ARRAY[OLD.id, NEW.id];
    ELSE
        courses := ARRAY[OLD.world_id, NEW.world_id];
    END IF;

    INSERT INTO catalogue_revision (revision) VALUES (new_revision)
    ON CONFLICT (is_only) DO UPDATE SET revision = excluded.revision
        WHERE catalogue_revision.revision <> excluded.revision;

    INSERT INTO course_revision (world_id, revision)
    SELECT world.id, new_revision FROM world WHERE world.id = ANY (courses)
    ON CONFLICT (world_id) DO UPDATE SET revision = excluded.revision
        WHERE course_revision.revision <> excluded.revision;

    IF TG_TABLE_NAME = 'world' AND TG_OP = 'DELETE' THEN
        DELETE FROM course_revision WHERE world_id = OLD.id;
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER world_changes_the_catalogue AFTER INSERT OR UPDATE OR DELETE ON world
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_catalogue_change();

CREATE CONSTRAINT TRIGGER lesson_changes_the_catalogue AFTER INSERT OR UPDATE OR DELETE ON lesson
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_catalogue_change();
