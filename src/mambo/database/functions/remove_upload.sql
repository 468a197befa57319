-- Deletes a submission's upload with the submission, however that is deleted.
CREATE FUNCTION remove_upload() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    DELETE FROM video_upload WHERE id = OLD.video_upload_id;
    RETURN NULL;
END $$;

CREATE TRIGGER submission_removes_upload AFTER DELETE ON submission FOR EACH ROW
WHEN (OLD.video_upload_id IS NOT NULL) EXECUTE FUNCTION remove_upload();
