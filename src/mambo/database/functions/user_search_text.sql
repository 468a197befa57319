-- Returns what a search for a person looks through: name and e-mail address in lower case.
--
-- The collation changes the case letter by letter (Σ is always σ) and does not depend on the operating system, so an
-- upgrade of that does not corrupt an index on the result.
CREATE FUNCTION user_search_text(first_name text, last_name text, email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower((first_name || ' ' || last_name || ' ' || email) COLLATE "pg_c_utf8");
