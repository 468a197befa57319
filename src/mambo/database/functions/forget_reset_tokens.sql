-- Deletes a user's links to reset the password when the password changes, however it changes.
CREATE FUNCTION forget_reset_tokens() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    DELETE FROM email_token WHERE user_id = NEW.id AND purpose = 'reset';
    RETURN NULL;
END $$;

CREATE TRIGGER users_forget_reset_tokens AFTER UPDATE OF password_hash ON users FOR EACH ROW
WHEN (OLD.password_hash IS DISTINCT FROM NEW.password_hash) EXECUTE FUNCTION forget_reset_tokens();
