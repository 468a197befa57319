-- A school to measure with: courses in the sizes of ceiling.py, learners who are signed in and have completed every
-- second lesson, and others of whom there may be many. What is stored lies a day or more back; what a measurement
-- writes is younger, and so it is found and deleted again.
SET session_replication_role = replica; -- neither foreign keys nor triggers: it loads in seconds

INSERT INTO world (id, title, description, slug, order_index, is_free, is_published, difficulty)
SELECT uuidv7(), 'Bench World', repeat('A course for measuring. ', 12), 'bench-world-' || n, n, n % 2 = 0, true, 'Beginner'
FROM generate_series(1, current_setting('bench.worlds')::integer) AS n;

INSERT INTO level (id, world_id, title, order_index)
SELECT uuidv7(), world.id, 'Week ' || week, week
FROM world, generate_series(1, current_setting('bench.lessons')::integer / 15) AS week;

INSERT INTO lesson (id, world_id, level_id, title, description, xp_value, order_index, week_number, day_number,
    is_boss_battle, duration_minutes, content_json)
SELECT uuidv7(), level.world_id, level.id, 'Lesson ' || i, repeat('Break on two, keep the frame. ', 6), 50, i % 3,
    level.order_index, i / 3 % 5 + 1, false, 12,
    jsonb_build_object('blocks', jsonb_build_array(jsonb_build_object(
        'type', 'text', 'content', repeat('Notes: count 1-2-3, 5-6-7. ', 20), 'format', 'markdown')))
FROM level, generate_series(15 * (level.order_index - 1), 15 * level.order_index - 1) AS i;

INSERT INTO users (id, email, password_hash, first_name, last_name, role, is_active, created_at)
SELECT uuidv7(), 'learner-' || n || '@example.com', '-', 'Bench', 'Student', 'user', true, now() - interval '100 days'
FROM generate_series(1, current_setting('bench.users')::integer) AS n;

CREATE TEMPORARY TABLE numbered_user AS
SELECT id, row_number() OVER (ORDER BY id) AS n FROM users;

CREATE TEMPORARY TABLE numbered_lesson AS
SELECT lesson.id, world_id, row_number() OVER (ORDER BY world.order_index, week_number, day_number, lesson.order_index, lesson.id) - 1 AS n
FROM lesson JOIN world ON world.id = lesson.world_id;

CREATE UNIQUE INDEX ON numbered_lesson (n);

INSERT INTO subscription (user_id, tier, status, current_period_end)
SELECT id, 'performer', 'active', now() + interval '1 year' FROM users;

INSERT INTO auth_session (id, user_id, device, last_seen_at, expires_at)
SELECT uuidv7(), id, 'bench', now(), now() + interval '90 days' FROM users;

INSERT INTO lesson_completion (user_id, world_id, lesson_id, completed_at)
SELECT learner.id, lesson.world_id, lesson.id, now() - interval '1 day' * (1 + 90 * random())
FROM numbered_user AS learner
JOIN numbered_lesson AS lesson ON lesson.n % 2 = 0
WHERE learner.n <= current_setting('bench.learners')::integer;

INSERT INTO lesson_completion (user_id, world_id, lesson_id, completed_at)
SELECT other.id, lesson.world_id, lesson.id, now() - interval '1 day' * (1 + 90 * random())
FROM numbered_user AS other
CROSS JOIN generate_series(1, 10) AS k
JOIN numbered_lesson AS lesson ON lesson.n = (other.n + 37 * k) % (SELECT count(*) FROM numbered_lesson)
WHERE other.n > current_setting('bench.learners')::integer;

INSERT INTO xp_event (id, user_id, kind, source_id, amount, at)
SELECT uuidv7(), user_id, 'lesson', lesson_id, 50, completed_at FROM lesson_completion;

INSERT INTO user_profile (user_id, xp, xp_reached_at, timezone, show_on_leaderboard)
SELECT user_id, sum(amount), max(at), 'UTC', true FROM xp_event GROUP BY user_id;

INSERT INTO weekly_xp (user_id, week, xp, reached_at)
SELECT user_id, date_trunc('week', at AT TIME ZONE 'UTC')::date, sum(amount), max(at) FROM xp_event GROUP BY 1, 2;

INSERT INTO activity_day (user_id, local_date)
SELECT id, current_date - day FROM users, generate_series(1, 10) AS day;
