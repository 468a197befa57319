-- Counts a learner's local day as active, unless that day or a later one counts already.
--
-- The day depends on the time zone in the learner's profile, so the caller must lock the profile row first.
CREATE FUNCTION count_day(user_id uuid, day date, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO activity_day (user_id, local_date, reason)
    SELECT count_day.user_id, day, count_day.reason
    WHERE NOT EXISTS (
        SELECT FROM activity_day AS counted WHERE counted.user_id = count_day.user_id AND counted.local_date >= day
    );
END $$;
