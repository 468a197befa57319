-- Schedules a check of every image that a row starts or stops to name, and the deletion of a video that it names no
-- longer. After the commit, an image is deleted if no row names it.
--
-- Raises integrity_constraint_violation when the row starts to name an image that is being deleted at this moment.
CREATE FUNCTION note_media() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    image text;
    is_wanted boolean;
BEGIN
    FOR image, is_wanted IN
        SELECT coalesce(old_one.url, new_one.url), new_one.url IS NOT NULL
        FROM images_in(before) AS old_one (url) FULL JOIN images_in(after) AS new_one (url) USING (url)
        WHERE old_one.url IS NULL OR new_one.url IS NULL ORDER BY 1
    LOOP
        INSERT INTO pending_deletion (kind, name) VALUES ('image', image)
        ON CONFLICT (kind, name) DO UPDATE SET due_at = now(), queued_at = NULL
            WHERE pending_deletion.locked_until IS NULL OR pending_deletion.locked_until < now();
        IF NOT FOUND AND is_wanted THEN
            RAISE EXCEPTION 'the image is being deleted'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'pk_pending_deletion';
        END IF;
    END LOOP;
    IF before->>'mux_asset_id' IS DISTINCT FROM after->>'mux_asset_id'
        AND before->>'mux_asset_id' IS NOT NULL THEN
        INSERT INTO pending_deletion (kind, name) VALUES ('asset', before->>'mux_asset_id')
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

-- A profile is created without an image, so its insert needs no trigger.
CREATE TRIGGER user_profile_notes_media AFTER DELETE OR UPDATE OF avatar_url ON user_profile
FOR EACH ROW EXECUTE FUNCTION note_media();

CREATE TRIGGER world_notes_media AFTER DELETE OR INSERT OR UPDATE OF image_url, thumbnail_url ON world
FOR EACH ROW EXECUTE FUNCTION note_media();

CREATE TRIGGER lesson_notes_media AFTER DELETE OR INSERT OR UPDATE OF thumbnail_url, content_json, mux_asset_id ON lesson
FOR EACH ROW EXECUTE FUNCTION note_media();
