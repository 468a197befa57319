"""Demo data: a local admin, and two courses."""

import asyncio
import os
import secrets
from importlib import resources
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.passwords import HASHER
from mambo.courses.repository import WorldRepository
from mambo.courses.schemas import CourseCreate, LessonCreate, LevelCreate
from mambo.courses.service import CourseService, provide_course_service
from mambo.database.session import create_engine
from mambo.users.models import User
from mambo.users.repository import UserRepository
from mambo.web.principal import Role
from mambo.web.schemas import as_struct

ADMIN_EMAIL = "admin@example.com"


class Admin(msgspec.Struct):
    """The local admin, as stored in `admin.json`."""

    email: str
    password: str


class DemoLevel(LevelCreate, kw_only=True):
    """A level in a demo file, with its lessons."""

    lessons: list[LessonCreate]


class DemoCourse(CourseCreate, kw_only=True):
    """A demo file: a course as the API accepts it, with its levels."""

    levels: list[DemoLevel]


def prepare(database_url: str, data_dir: Path, *, with_demo: bool) -> Admin:
    """Create the local admin if it is missing, and load the demo courses once.

    `data_dir/demo-loaded` marks that they were loaded, so that deleted courses are not loaded again.
    """
    admin, is_new = local_admin(data_dir / "admin.json")
    marker = data_dir / "demo-loaded"
    courses = demo_courses() if with_demo and not marker.exists() else []
    asyncio.run(store(database_url, admin, courses, set_password=is_new))
    if with_demo:
        marker.touch()
    return admin


def local_admin(file: Path) -> tuple[Admin, bool]:
    """Return the admin of `file`, and whether it was created now, with a random password."""
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Admin), False
    admin = Admin(ADMIN_EMAIL, secrets.token_urlsafe(12))
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as private:
        private.write(msgspec.json.encode(admin))
    return admin, True


async def store(database_url: str, admin: Admin, courses: list[DemoCourse], *, set_password: bool) -> None:
    """Store the admin, and the courses if there are none, in one transaction."""
    engine = create_engine(database_url, pool_size=1)
    try:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            await store_admin(UserRepository(session), admin, set_password=set_password)
            if courses and not await WorldRepository(session).exists():
                service = provide_course_service(session, None)
                for course in courses:
                    await load(service, course)
    finally:
        await engine.dispose()


async def store_admin(users: UserRepository, admin: Admin, *, set_password: bool) -> None:
    """Create the account, or set its new password; do nothing if it has its password."""
    user = await users.get_one_or_none(email=admin.email)
    if user is not None and not set_password:
        return
    password_hash = HASHER.hash(admin.password)
    if user is not None:
        user.password_hash = password_hash
        return
    account = User(
        email=admin.email, first_name="Local", last_name="Admin", role=Role.ADMIN, password_hash=password_hash
    )
    await users.add_account(account, timezone="UTC", level_tag=None)


def demo_courses() -> list[DemoCourse]:
    files = [file for file in (resources.files(__package__) / "demo").iterdir() if file.name.endswith(".toml")]
    return [msgspec.toml.decode(file.read_bytes(), type=DemoCourse) for file in sorted(files, key=lambda f: f.name)]


async def load(service: CourseService, course: DemoCourse) -> None:
    world = await service.create_course(as_struct(course, CourseCreate))
    for level in course.levels:
        stored = await service.create_level(world.id, as_struct(level, LevelCreate))
        for lesson in level.lessons:
            lesson.level_id = stored.id
            await service.create_lesson(world.id, lesson)
