"""Objects at R2 and Mux that are deleted once no row names them."""
