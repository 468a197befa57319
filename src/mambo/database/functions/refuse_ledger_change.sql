-- Keeps the XP ledger append-only. A row is deleted only with its learner: then the deletion comes from a trigger.
CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' AND pg_trigger_depth() > 1 THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'xp_event is append-only' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER xp_event_is_append_only BEFORE UPDATE OR DELETE ON xp_event
FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
