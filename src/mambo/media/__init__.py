"""Pictures and videos: presigned and direct uploads, Mux's webhooks, and what heals what got lost."""
