"""Who is asking: sign-in, sessions, tokens and passwords."""
