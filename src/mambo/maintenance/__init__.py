"""Background work: asks Mux about unfinished uploads, deletes what nothing names, and removes old rows."""
