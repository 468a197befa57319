"""Getting back in: forgotten passwords, and whether an e-mail address is one's own."""
