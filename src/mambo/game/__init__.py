"""The game: the XP ledger, levels and streaks."""
