"""Mambo, the backend of a video-based, gamified learning platform.

`app` puts everything together, `resources` is what a process opens once. The packages:

  accounts      a person's own profile, and the administration of users
  access        who may open what
  adapters      one file for each vendor
  auth          sign-in, sessions, tokens, passwords, e-mailed links
  catalogue     the published courses, as a read model in memory
  cli           the `mambo` command
  comments      comments on lessons
  courses       authoring: worlds, levels, lessons
  database      transactions, repositories, single statements
  deletions     objects to delete at R2 and Mux
  devkit        embedded services and demo data
  entitlements  what a person has paid for or been given
  game          the XP ledger, levels, streaks, the leaderboard
  images        uploads of images to R2
  jobs          background work: a queue and schedules in PostgreSQL
  limits        rate limits
  maintenance   work in the background
  progress      completing lessons, and how far a learner is
  quizzes       quizzes and their grading
  reports       statistics for admins
  settings      the environment as one frozen struct
  submissions   boss battles: learners' videos, and their grading
  users         the tables of people
  videos        uploads of videos to Mux, and its webhook
  web           everything HTTP that is no feature
"""
