"""Statistics for admins."""

from datetime import timedelta

from asgi_lifespan import LifespanManager

from conftest import TurnableClock
from factories import School, calling
from mambo.app import create_app
from mambo.settings import Settings

VIDEO = "https://video.example/my-shines.mp4"


async def test_stats_count_accounts_submissions_and_recent_activity(school: School, clock: TurnableClock) -> None:
    """All accounts and submissions; of the last 30 days active learners, and completions by day."""
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    bosses = [await school.lesson(await school.level(world), is_boss_battle=True) for _ in range(3)]
    admin, ana, ben = await school.admin(), await school.person(), await school.person()
    await ben.post(f"/api/courses/lessons/{lesson.id}/complete")
    clock.turn(timedelta(days=31))
    ana, admin = [await school.sign_in(person.user_id, person.email) for person in (ana, admin)]
    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")
    sent = [
        (await ana.post("/api/submissions/submit", {"lesson_id": str(boss.id), "video_url": VIDEO})).json()["id"]
        for boss in bosses
    ]
    await admin.post(f"/api/admin/submissions/{sent[0]}/grade", {"status": "approved"})
    await admin.post(f"/api/admin/submissions/{sent[1]}/grade", {"status": "rejected", "feedback_text": "Slower."})

    stats = (await admin.get("/api/admin/stats")).json()

    assert stats == {
        "total_users": 3,
        "total_submissions": 3,
        "pending_submissions": 1,
        "active_learners": 1,
        "completions_by_day": [{"date": "2026-04-02", "completions": 2}],
    }


async def test_recent_activity_is_cached_and_totals_are_not(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    """In a worker with a cache: a new account is counted at once, a completion later."""
    lessons = await school.lessons_of(await school.world(lessons=2))
    admin, learner = await school.admin(), await school.person()
    app = create_app(settings, clock=clock, runs_jobs=False, memory_seconds=3600)
    async with LifespanManager(app):  # type: ignore[arg-type]
        stats = []
        for lesson in lessons:
            await learner.post(f"/api/courses/lessons/{lesson.id}/complete")
            await school.person()
            stats.append((await calling(app, admin).get("/api/admin/stats")).json())

    assert [one["total_users"] for one in stats] == [3, 4]
    assert [one["completions_by_day"][0]["completions"] for one in stats] == [1, 1]
    assert (await admin.get("/api/admin/stats")).json()["completions_by_day"][0]["completions"] == 2
