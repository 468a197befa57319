-- Returns how many lessons of a world a learner has completed.
--
-- A volatile function takes a new snapshot, while the statement that calls it sees the rows as they were when it began.
-- So a completion that waited for the profile's lock counts what was committed until it got the lock.
CREATE FUNCTION lessons_completed(who uuid, of_world uuid) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = public AS $$
    SELECT count(*) FROM lesson_completion WHERE user_id = who AND world_id = of_world
$$;
