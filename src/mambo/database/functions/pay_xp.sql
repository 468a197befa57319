-- Pays XP to a learner for a source, once per learner, kind and source, and reports what came of it.
--
-- Every payment locks the learner's profile row first: payments, active days and rebuilds of one learner wait for each
-- other there, and hold nothing else of the game while they wait.
--
-- Returns whether the source was paid now, and the learner's total XP before and after. Both totals are null when the
-- learner has no profile. A payment of 0 XP is a row of the ledger and changes no total. A total below zero violates
-- the profile's check constraint.
CREATE FUNCTION pay_xp(
    id uuid,
    user_id uuid,
    kind text,
    source_id uuid,
    amount integer,
    at timestamptz,
    actor_id uuid DEFAULT NULL,
    reason text DEFAULT NULL,
    OUT is_paid boolean,
    OUT xp_before integer,
    OUT xp_after integer
) LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    is_paid := false;
    SELECT xp, xp INTO xp_before, xp_after FROM user_profile WHERE user_profile.user_id = pay_xp.user_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    INSERT INTO xp_event (id, user_id, kind, source_id, amount, at, actor_id, reason)
    VALUES (id, user_id, kind, source_id, amount, at, actor_id, reason)
    ON CONFLICT ON CONSTRAINT uq_xp_event_source DO NOTHING;
    is_paid := FOUND;
    IF NOT is_paid OR amount = 0 THEN
        RETURN;
    END IF;

    UPDATE user_profile SET xp = xp + amount, xp_reached_at = greatest(xp_reached_at, at)
    WHERE user_profile.user_id = pay_xp.user_id
    RETURNING xp INTO xp_after;

    INSERT INTO weekly_xp (user_id, week, xp, reached_at)
    VALUES (user_id, date_trunc('week', at AT TIME ZONE 'UTC')::date, amount, at)
    ON CONFLICT ON CONSTRAINT pk_weekly_xp DO UPDATE
    SET xp = weekly_xp.xp + excluded.xp, reached_at = greatest(weekly_xp.reached_at, excluded.reached_at);
END $$;
