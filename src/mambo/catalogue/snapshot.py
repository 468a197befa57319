"""The catalogue in a worker's memory: the list of courses, and the lessons of each course that a visitor has read.

Drafts are included: `access.rules` decides who sees them. What a visitor has completed is not part of it.
"""

import asyncio
from functools import cached_property
from time import monotonic
from uuid import UUID

from msgspec import Raw

from mambo.access.rules import Access, Visitor, access_of, require_open
from mambo.catalogue.encoding import EncodedList, LessonEntry, encode_list, entry_of, fields_of
from mambo.catalogue.repository import NEVER, CatalogueReader, CatalogueRepository, WorldRow
from mambo.catalogue.rules import Reader, percentage_of, reader_of
from mambo.catalogue.schemas import LessonDetail, WorldView
from mambo.comments.schemas import CommentView
from mambo.errors import NotFound
from mambo.web.responses import EncodedResponse, encode, etag_of

FROM_ROW = tuple(name for name in WorldView.__struct_fields__ if name in WorldRow.__struct_fields__)


class Course:
    """A course with its lessons in order, as of the course's revision."""

    def __init__(self, row: WorldRow, lessons: list[LessonEntry]) -> None:
        self.row, self.lessons = row, lessons
        self._positions = {lesson.row.id: position for position, lesson in enumerate(lessons)}
        self._lists: dict[Reader, EncodedList] = {}

    def lesson(self, lesson_id: UUID) -> LessonEntry | None:
        position = self._positions.get(lesson_id)
        return None if position is None else self.lessons[position]

    def neighbours(self, lesson: LessonEntry) -> tuple[UUID | None, UUID | None]:
        """Return the ids of the lessons before and after a lesson of the course."""
        position = self._positions[lesson.row.id]
        before = self.lessons[position - 1].row.id if position > 0 else None
        after = self.lessons[position + 1].row.id if position + 1 < len(self.lessons) else None
        return before, after

    def list_for(self, visitor: Visitor | None, completed: set[UUID]) -> EncodedResponse:
        """Encode the lessons in order, as a list of `LessonView`."""
        reader = reader_of(visitor, access_of(visitor, self.row))
        if reader not in self._lists:
            self._lists[reader] = encode_list(self.lessons, reader)
        views, etag = self._lists[reader]
        is_done = [lesson.row.id in completed for lesson in self.lessons]
        body = encode([view[done] for view, done in zip(views, is_done, strict=True)])
        return EncodedResponse(body, etag_of(etag, bytes(is_done)))  # hashing the body would take longer than all else

    def detail_for(
        self, visitor: Visitor, lesson: LessonEntry, comments: list[CommentView], *, is_completed: bool
    ) -> EncodedResponse:
        """Encode a lesson of the course, as a `LessonDetail`."""
        before, after = self.neighbours(lesson)
        detail = LessonDetail(
            **fields_of(lesson, reader_of(visitor, access_of(visitor, self.row))),
            is_completed=is_completed,
            world_id=self.row.id,
            next_lesson_id=after,
            prev_lesson_id=before,
            comments=comments,
        )
        body = encode(detail)
        return EncodedResponse(body, etag_of(body))


class Snapshot:
    """The list of courses, as of a revision."""

    def __init__(self, revision: int | None, worlds: dict[UUID, WorldRow]) -> None:
        self.revision, self.worlds = revision, worlds
        self.published = [world for world in worlds.values() if world.is_published]
        self._views: dict[tuple[UUID, int, bool], Raw] = {}

    @cached_property
    def for_anyone(self) -> EncodedResponse:
        """The published courses as a visitor sees them who is not signed in."""
        return self.list_for(None, {})

    def list_for(self, visitor: Visitor | None, completed: dict[UUID, int]) -> EncodedResponse:
        """Encode the published courses in order, as a list of `WorldView`.

        `completed` is how many lessons of each course the visitor has completed.
        """
        body = encode(
            [
                self._view(world, completed.get(world.id, 0), is_locked=access_of(visitor, world) is not Access.OPEN)
                for world in self.published
            ]
        )
        return EncodedResponse(body, etag_of(body))

    def _view(self, world: WorldRow, completed: int, *, is_locked: bool) -> Raw:
        key = (world.id, completed, is_locked)
        if key not in self._views:
            view = WorldView(
                **{name: getattr(world, name) for name in FROM_ROW},
                progress_percentage=percentage_of(completed, world.lesson_count),
                is_locked=is_locked,
            )
            self._views[key] = Raw(encode(view))
        return self._views[key]


class Catalogue:
    """The newest snapshot, and the courses that visitors have read.

    It is updated when a statement has seen another revision, when a course is read that is not in memory, and when
    nobody has seen the revision for `seconds`. One update serves all requests that wait for it. It reads the courses
    that have changed, and of the courses that are waited for the lessons that have changed.
    """

    def __init__(self, source: CatalogueRepository, *, seconds: float = 1.0) -> None:
        self._source, self._seconds = source, seconds
        self.newest = Snapshot(NEVER, {})
        self._courses: dict[UUID, Course] = {}  # as they were read last; see `_course`
        self._course_of: dict[UUID, UUID] = {}  # the course in which a lesson was read last
        self._wanted: set[UUID] = set()  # courses that the next update reads
        self._updating = asyncio.Lock()
        self._begun = self._succeeded = 0  # updates, by number
        self._seen_at = -seconds

    def fresh(self) -> Snapshot | None:
        """Return the list of courses if it was up to date less than `seconds` ago."""
        return self.newest if monotonic() - self._seen_at < self._seconds else None

    async def current(self) -> Snapshot:
        """Return the list of courses, outdated by less than `seconds`."""
        return self.fresh() or await self.at(await self._source.get_revision())

    async def at(self, revision: int | None) -> Snapshot:
        """Return the list of courses as of the revision that a statement has just seen, or newer."""
        await self._see(revision)
        return self.newest

    async def current_course(self, world_id: UUID) -> Course | None:
        """Return a course, outdated by less than `seconds`; None if it does not exist."""
        snapshot = await self.current()
        await self._update_to(snapshot.revision, world_id)
        return self._course(world_id)

    async def course_at(self, revision: int | None, world_id: UUID) -> Course | None:
        """Return a course as of the revision that a statement has just seen, or newer; None if it does not exist."""
        await self._see(revision, world_id)
        return self._course(world_id)

    async def course_of(self, lesson_id: UUID) -> Course | None:
        """Return the course of a lesson as the database has it now; None if there is no such lesson."""
        revision, world_id = await self._source.get_course_of(lesson_id)
        return None if world_id is None else await self.course_at(revision, world_id)

    def remembered_course_of(self, lesson_id: UUID) -> Course | None:
        """Return the course of a lesson if it is in memory, as the newest snapshot has it."""
        world_id = self._course_of.get(lesson_id)
        course = None if world_id is None else self._course(world_id)
        return course if course is not None and course.lesson(lesson_id) else None

    def _course(self, world_id: UUID) -> Course | None:
        """Return a course if it is in memory, as the newest snapshot has it."""
        course = self._courses.get(world_id)
        return course if course is not None and course.row is self.newest.worlds.get(world_id) else None

    def _has(self, revision: int | None, world_id: UUID | None) -> bool:
        if self.newest.revision != revision:
            return False
        return world_id not in self.newest.worlds or self._course(world_id) is not None

    async def _see(self, revision: int | None, world_id: UUID | None = None) -> None:
        seen_at = monotonic()
        await self._update_to(revision, world_id)
        self._seen_at = max(self._seen_at, seen_at)

    async def _update_to(self, revision: int | None, world_id: UUID | None = None) -> None:
        """Return once the list of courses, and the course if one is named, are as of `revision` or newer."""
        if self._has(revision, world_id):
            return
        begun = self._begun
        if world_id is not None:
            self._wanted.add(world_id)
        async with self._updating:
            # An update that began since then is new enough, and has read the course.
            if not self._has(revision, world_id) and self._succeeded <= begun:
                self._begun = number = self._begun + 1
                await self._update()
                self._succeeded = number

    async def _update(self) -> None:
        async with self._source.snapshot() as source:
            snapshot = self.newest
            revision = await source.get_revision()
            if revision != snapshot.revision:
                snapshot = Snapshot(revision, await read_worlds(source, snapshot.worlds))
            wanted, read = list(self._wanted), {}
            for world_id in wanted:
                row, known = snapshot.worlds.get(world_id), self._courses.get(world_id)
                if row is not None and (known is None or known.row is not row):
                    read[world_id] = Course(row, await read_lessons(source, world_id, known.lessons if known else []))
        self._wanted.difference_update(wanted)
        self.newest = snapshot
        self._courses = {id_: course for id_, course in (self._courses | read).items() if id_ in snapshot.worlds}
        self._course_of |= {lesson.row.id: id_ for id_, course in read.items() for lesson in course.lessons}


def require_lesson(course: Course | None, lesson_id: UUID, learner: Visitor) -> tuple[Course, LessonEntry]:
    """Return a lesson and its course.

    Raises:
        NotFound: the lesson does not exist for this learner.
        NotAllowed: it is locked.

    """
    lesson = course.lesson(lesson_id) if course else None
    if course is None or lesson is None:
        raise NotFound("lesson")
    require_open(access_of(learner, course.row))
    return course, lesson


async def read_worlds(source: CatalogueReader, known: dict[UUID, WorldRow]) -> dict[UUID, WorldRow]:
    """Read the courses in order, of those in `known` only the changed ones."""
    revisions = await source.get_revisions()
    changed = [id_ for id_, revision in revisions.items() if id_ not in known or known[id_].revision != revision]
    read = {row.id: row async for row in source.get_worlds(changed)}
    return {id_: read.get(id_) or known[id_] for id_ in revisions}


async def read_lessons(source: CatalogueReader, world_id: UUID, known: list[LessonEntry]) -> list[LessonEntry]:
    """Read the lessons of a course in order, of those in `known` only the changed ones."""
    versions = await source.get_lesson_versions(world_id)
    entries = {lesson.row.id: lesson for lesson in known if versions.get(lesson.row.id) == lesson.version}
    changed = [id_ for id_ in versions if id_ not in entries]
    async for row, content in source.get_lessons(changed):
        entries[row.id] = entry_of(row, versions[row.id], content)
    return [entries[id_] for id_ in versions]
