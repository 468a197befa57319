"""Background work: polls Mux for unfinished uploads, deletes unused files, and removes old rows."""
