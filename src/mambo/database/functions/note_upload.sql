-- Schedules the deletion of an upload at Mux when its row is deleted before it became a lesson's or learner's video.
CREATE FUNCTION note_upload() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO pending_deletion (kind, name) VALUES ('upload', OLD.mux_upload_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER video_upload_notes_itself AFTER DELETE ON video_upload FOR EACH ROW
WHEN (OLD.status NOT IN ('ready', 'deleted'))
EXECUTE FUNCTION note_upload();
