-- A school to measure. Most courses are plain, in the sizes of ceiling.py. The last ones are rich: their lessons have
-- notes, quizzes, videos, comments and boss battles. Learners are signed in and have completed every second lesson;
-- there may be many other accounts. All of it is a day or more old, and so what a measurement writes can be deleted.
SET session_replication_role = replica; -- without foreign keys and triggers it loads in seconds

-- Courses

INSERT INTO world (id, title, description, slug, order_index, is_free, is_published, difficulty)
SELECT uuidv7(), 'Bench World', repeat('A course for measuring. ', 12),
    CASE WHEN n > current_setting('bench.worlds')::integer - current_setting('bench.rich')::integer THEN 'rich' ELSE 'bench' END
        || '-world-' || n,
    n, n % 2 = 0, true, 'Beginner'
FROM generate_series(1, current_setting('bench.worlds')::integer) AS n;

INSERT INTO level (id, world_id, title, order_index)
SELECT uuidv7(), world.id, 'Week ' || week, week
FROM world, generate_series(1, ceil(current_setting('bench.lessons')::integer / 15.0)::integer) AS week;

INSERT INTO lesson (id, world_id, level_id, title, description, xp_value, order_index, week_number, day_number,
    is_boss_battle, duration_minutes, content_json)
SELECT uuidv7(), level.world_id, level.id, 'Lesson ' || i, repeat('Break on two, keep the frame. ', 6), 50, i % 3,
    level.order_index, i / 3 % 5 + 1, false, 12,
    jsonb_build_object('blocks', jsonb_build_array(jsonb_build_object(
        'type', 'text', 'content', repeat('Notes: count 1-2-3, 5-6-7. ', 20), 'format', 'markdown')))
FROM level, generate_series(15 * (level.order_index - 1), least(15 * level.order_index, current_setting('bench.lessons')::integer) - 1) AS i;

CREATE TEMPORARY TABLE numbered_lesson AS
SELECT lesson.id, world_id, slug LIKE 'rich-%' AS is_rich, lesson.title,
    row_number() OVER (ORDER BY world.order_index, week_number, day_number, lesson.order_index, lesson.id) - 1 AS n
FROM lesson JOIN world ON world.id = lesson.world_id;

CREATE UNIQUE INDEX ON numbered_lesson (n);

UPDATE lesson SET
    is_boss_battle = n % 15 = 14,
    duration_minutes = NULL,
    duration_seconds = 300 + n,
    mux_playback_id = 'bench-playback-' || n,
    mux_asset_id = 'bench-asset-' || n,
    thumbnail_url = 'https://image.example.com/thumbnails/' || n || '.webp',
    content_json = jsonb_build_object(
        'notes', '## Notes' || repeat(E'\n\nStep on *1 2 3, 5 6 7*; the breaks fall on **2** and **6**.', 15),
        'quiz', (
            SELECT jsonb_agg(jsonb_build_object(
                'id', 'q' || question,
                'question', 'On which count of the basic step does the body change its direction, ' || question || '?',
                'explanation', 'The break falls on 2 and on 6; on 1 and on 5 there is a step without a change.',
                'options', (
                    SELECT jsonb_agg(jsonb_build_object('text', 'On count ' || option, 'isCorrect', option = question % 4))
                    FROM generate_series(0, 3) AS option
                )))
            FROM generate_series(1, 5) AS question
        ))
FROM numbered_lesson WHERE numbered_lesson.id = lesson.id AND is_rich;

INSERT INTO video_upload (id, lesson_id, status, mux_upload_id, asset_id, playback_id, duration_seconds, created_at, updated_at, expires_at)
SELECT uuidv7(), id, 'ready', 'bench-upload-' || n, 'bench-asset-' || n, 'bench-playback-' || n, 300 + n,
    now() - interval '100 days', now() - interval '100 days', now() - interval '99 days'
FROM numbered_lesson WHERE is_rich;

-- Accounts

INSERT INTO users (id, email, password_hash, first_name, last_name, role, is_active, created_at)
SELECT uuidv7(), 'learner-' || n || '@example.com', '-', 'Bench', 'Student', 'user', true, now() - interval '100 days'
FROM generate_series(1, current_setting('bench.users')::integer) AS n;

CREATE TEMPORARY TABLE numbered_user AS
SELECT id, row_number() OVER (ORDER BY id) AS n FROM users;

CREATE UNIQUE INDEX ON numbered_user (n);

CREATE TEMPORARY TABLE learner AS
SELECT id, n FROM numbered_user WHERE n <= current_setting('bench.learners')::integer;

INSERT INTO users (id, email, password_hash, first_name, last_name, role, is_active, created_at)
SELECT uuidv7(), role || '@example.com', '-', 'Bench', 'Staff', role, true, now() - interval '100 days'
FROM unnest(ARRAY['admin', 'instructor']) AS role;

INSERT INTO subscription (user_id, tier, status, current_period_end)
SELECT id, 'performer', 'active', now() + interval '1 year' FROM users;

-- The tokens of a measurement are for the sessions on the device 'bench': one of each learner, and five of each of the staff.
INSERT INTO auth_session (id, user_id, device, ip_prefix, last_seen_at, expires_at)
SELECT uuidv7(), id, 'bench', '192.0.2.0/24', now(), now() + interval '90 days' FROM learner
UNION ALL
SELECT uuidv7(), id, 'bench', '192.0.2.0/24', now(), now() + interval '90 days'
FROM users, generate_series(1, 5) WHERE role <> 'user'
UNION ALL
SELECT uuidv7(), id, 'Firefox on Linux', '192.0.2.0/24', now() - interval '1 day', now() + interval '90 days'
FROM numbered_user, generate_series(1, CASE WHEN n <= current_setting('bench.learners')::integer THEN 4 ELSE 1 END);

-- Progress

INSERT INTO lesson_completion (user_id, world_id, lesson_id, completed_at)
SELECT learner.id, lesson.world_id, lesson.id, now() - interval '1 day' * (1 + 90 * random())
FROM learner JOIN numbered_lesson AS lesson ON lesson.n % 2 = 0;

INSERT INTO lesson_completion (user_id, world_id, lesson_id, completed_at)
SELECT other.id, lesson.world_id, lesson.id, now() - interval '1 day' * (1 + 90 * random())
FROM numbered_user AS other
CROSS JOIN generate_series(1, 10) AS k
JOIN numbered_lesson AS lesson ON lesson.n = (other.n + 37 * k) % (SELECT count(*) FROM numbered_lesson)
WHERE other.n > current_setting('bench.learners')::integer;

INSERT INTO xp_event (id, user_id, kind, source_id, amount, at)
SELECT uuidv7(), user_id, kind, lesson_id, amount, completed_at
FROM lesson_completion JOIN numbered_lesson ON id = lesson_id
CROSS JOIN (VALUES ('lesson', 50, false), ('quiz', 25, true)) AS payment (kind, amount, only_rich)
WHERE is_rich OR NOT only_rich;

INSERT INTO user_profile (user_id, xp, xp_reached_at, timezone, show_on_leaderboard)
SELECT users.id, coalesce(sum(amount), 0), max(at), 'UTC', role = 'user'
FROM users LEFT JOIN xp_event ON user_id = users.id GROUP BY users.id;

INSERT INTO weekly_xp (user_id, week, xp, reached_at)
SELECT user_id, date_trunc('week', at AT TIME ZONE 'UTC')::date, sum(amount), max(at) FROM xp_event GROUP BY 1, 2;

INSERT INTO activity_day (user_id, local_date)
SELECT id, current_date - day FROM users, generate_series(1, 10) AS day;

-- Submissions: one of each learner for each boss battle, half of them uploaded here, and one of each other account.

CREATE TEMPORARY TABLE sent AS
SELECT uuidv7() AS id, learner.id AS user_id, lesson.id AS lesson_id, uuidv7() AS upload_id,
    (ARRAY['pending', 'approved', 'rejected'])[1 + (learner.n + lesson.n) % 3] AS status, (learner.n + lesson.n / 15) % 2 = 0 AS is_uploaded
FROM learner JOIN numbered_lesson AS lesson ON is_rich AND lesson.n % 15 = 14;

INSERT INTO sent
SELECT uuidv7(), other.id, lesson.id, NULL, (ARRAY['pending', 'approved', 'rejected'])[1 + other.n % 3], false
FROM numbered_user AS other
CROSS JOIN (SELECT id FROM numbered_lesson WHERE is_rich AND n % 15 = 14 ORDER BY n LIMIT 1) AS lesson
WHERE other.n > current_setting('bench.learners')::integer;

INSERT INTO video_upload (id, boss_lesson_id, created_by, status, mux_upload_id, asset_id, playback_id, duration_seconds, created_at, updated_at, expires_at)
SELECT upload_id, lesson_id, user_id, 'ready', 'bench-upload-' || upload_id, 'bench-asset-' || upload_id, 'bench-playback-' || upload_id, 90,
    now() - interval '30 days', now() - interval '30 days', now() - interval '29 days'
FROM sent WHERE is_uploaded;

INSERT INTO submission (id, user_id, lesson_id, status, video_url, video_upload_id, feedback_text, reviewer_id, submitted_at, reviewed_at)
SELECT id, user_id, lesson_id, status, CASE WHEN NOT is_uploaded THEN 'https://video.example.com/' || id END,
    CASE WHEN is_uploaded THEN upload_id END,
    CASE WHEN status <> 'pending' THEN 'Keep the frame, and wait for the two.' END,
    CASE WHEN status <> 'pending' THEN (SELECT users.id FROM users WHERE role = 'instructor') END,
    now() - interval '30 days', CASE WHEN status <> 'pending' THEN now() - interval '29 days' END
FROM sent;

-- Comments: ten on each rich lesson, with up to three replies.

INSERT INTO comment (id, lesson_id, author_id, body, created_at)
SELECT uuidv7(), lesson.id, learner.id, repeat('Where is the weight on 6? ', 1 + n_comment % 4), now() - interval '30 days'
FROM numbered_lesson AS lesson
CROSS JOIN generate_series(1, 10) AS n_comment
JOIN learner ON learner.n = 1 + (7 * lesson.n + 13 * n_comment) % current_setting('bench.learners')::integer
WHERE is_rich;

INSERT INTO comment (id, lesson_id, author_id, parent_id, body, created_at)
SELECT uuidv7(), thread.lesson_id, learner.id, thread.id, 'On the left foot, I think.', now() - interval '20 days'
FROM (SELECT id, lesson_id, row_number() OVER (ORDER BY id) AS n FROM comment) AS thread
CROSS JOIN LATERAL generate_series(1, thread.n % 4) AS n_reply
JOIN learner ON learner.n = 1 + (11 * thread.n + 17 * n_reply) % current_setting('bench.learners')::integer;
