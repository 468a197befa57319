"""Mambo, the backend of a video-based, gamified learning platform.

The map of the rooms: `users` (who there is), `game` (XP, levels, streaks), `auth` (who is asking), `people` (what a
person and an admin see of an account), `courses` (what is taught), `media` (pictures and videos), `learning` (what a
learner does with it), `upkeep` (what heals what got lost), `devkit` (what a machine without services gets). `adapters`
know the vendors, `app` puts all together, `cli` is the `mambo` command.
"""
