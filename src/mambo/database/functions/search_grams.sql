-- Returns every run of three characters of a text, and its last two characters and its last one, for a GIN index.
--
-- So each run of one or two characters is the prefix of a lexeme. The extension pg_trgm reads its whole index for these,
-- and not every PostgreSQL has it.
CREATE FUNCTION search_grams(value text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_to_tsvector(ARRAY(SELECT substr(value, start, 3) FROM generate_series(1, length(value)) AS start));
