-- Returns the URLs of our images ("https://host/avatars/<user>/<uuid>.png") in a row: every text value that is one.
CREATE FUNCTION images_in(row_as_json jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = public AS $$
    SELECT DISTINCT image #>> '{}' FROM jsonb_path_query(
        row_as_json,
        'strict $.** ? (@ like_regex "^https?://[^ ]+/(avatars/[0-9a-f-]{36}|thumbnails)/[0-9a-f-]{36}[.][a-z]+$")'
    ) AS image
$$;
