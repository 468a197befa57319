"""Objects to delete at R2 and Mux."""
