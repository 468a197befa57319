-- Returns the query that matches `search_grams` of every text that contains `value`, and of some other texts.
--
-- PARALLEL UNSAFE keeps parallel workers away: starting them takes longer than the search.
CREATE FUNCTION search_query(value text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL UNSAFE
RETURN (
    SELECT string_agg(
        DISTINCT '''' || replace(replace(substr(value, start, 3), '\', '\\'), '''', '''''') || ''''
        || CASE WHEN length(value) < 3 THEN ':*' ELSE '' END,
        ' & '
    )::tsquery
    FROM generate_series(1, greatest(length(value) - 2, 1)) AS start
);
