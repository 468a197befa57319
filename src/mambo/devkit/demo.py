"""What a school looks like on its first day: an admin to sign in with, and two courses."""

import json
import os
import secrets
from importlib import resources
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from mambo import db
from mambo.auth.passwords import Passwords
from mambo.courses.schemas import CourseCreate, LessonCreate, LevelCreate
from mambo.courses.service import CourseBuilder
from mambo.guards import Role
from mambo.schema import as_struct
from mambo.users.models import User
from mambo.users.repository import UserRepository

ADMIN_EMAIL = "admin@mambo.local"


class Admin(msgspec.Struct):
    """The local admin, as kept in `admin.json`."""

    email: str
    password: str


class DemoLevel(LevelCreate, kw_only=True):
    """A level in a demo file, with its lessons."""

    lessons: list[LessonCreate]


class DemoCourse(CourseCreate, kw_only=True):
    """A demo file: a course as the API takes it, with its levels."""

    levels: list[DemoLevel]


async def prepare(database_url: str, data_dir: Path, *, with_demo: bool) -> Admin:
    """Make sure of the local admin, and load the demo courses the first time they are wanted."""
    engine = db.create_engine(database_url, pool_size=1)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    try:
        async with sessions() as session, session.begin():
            admin = await ensure_admin(session, data_dir / "admin.json")
        if with_demo:
            await load_once(sessions, data_dir / "demo-loaded")
    finally:
        await engine.dispose()
    return admin


async def ensure_admin(session: AsyncSession, file: Path) -> Admin:
    """The admin of `file`; without the file the account gets a new random password, which goes into it."""
    is_new = not file.exists()
    if is_new:
        admin = Admin(ADMIN_EMAIL, secrets.token_urlsafe(12))
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as private:
            json.dump(msgspec.to_builtins(admin), private)
    admin = msgspec.json.decode(file.read_bytes(), type=Admin)
    users = UserRepository(session)
    user = await users.get_one_or_none(email=admin.email)
    if user is not None and not is_new:
        return admin
    passwords = Passwords()
    password_hash = await passwords.hash(admin.password)
    passwords.close()
    if user is None:
        user = User(email=admin.email, first_name="Local", last_name="Admin", role=Role.ADMIN, password_hash=password_hash)
        await users.add_account(user, timezone="UTC", level_tag=None)
    else:
        user.password_hash = password_hash
    return admin


async def load_once(sessions: async_sessionmaker[AsyncSession], marker: Path) -> None:
    """Load the demo courses into a school that has none; `marker` remembers it, so that deleted ones stay away."""
    if marker.exists():
        return
    async with sessions() as session, session.begin():
        builder = CourseBuilder(session)
        if not await builder.list_courses():
            for course in demo_courses():
                await load(builder, course)
    marker.touch()


def demo_courses() -> list[DemoCourse]:
    files = [file for file in (resources.files(__package__) / "demo").iterdir() if file.name.endswith(".toml")]
    return [msgspec.toml.decode(file.read_bytes(), type=DemoCourse) for file in sorted(files, key=lambda f: f.name)]


async def load(builder: CourseBuilder, course: DemoCourse) -> None:
    world = await builder.create_course(as_struct(course, CourseCreate))
    for level in course.levels:
        stored = await builder.create_level(world.id, as_struct(level, LevelCreate))
        for lesson in level.lessons:
            lesson.level_id = stored.id
            await builder.create_lesson(world.id, lesson)
