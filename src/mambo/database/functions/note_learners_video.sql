-- Schedules the deletion of a learner's video at Mux when its upload's row is deleted. It goes by the asset, because Mux
-- may no longer know the upload.
CREATE FUNCTION note_learners_video() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO pending_deletion (kind, name) VALUES ('asset', OLD.asset_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER video_upload_notes_learners_video AFTER DELETE ON video_upload FOR EACH ROW
WHEN (OLD.boss_lesson_id IS NOT NULL AND OLD.status = 'ready') EXECUTE FUNCTION note_learners_video();
