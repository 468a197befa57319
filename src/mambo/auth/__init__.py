"""Registration, sign-in, sessions, tokens, passwords, and the e-mails that carry a token."""
