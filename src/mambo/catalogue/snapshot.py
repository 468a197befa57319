"""The catalogue in memory: every course and lesson in order, encoded once for each kind of reader.

Drafts are in it too: `courses.access_to` decides who sees what. What learners have done is never in it.
"""

import asyncio
import enum
from functools import cached_property
from time import monotonic
from uuid import UUID

import msgspec
from msgspec import structs

from mambo.access.rules import Access, access_to
from mambo.catalogue.repository import NEVER, CatalogueRepository, LessonRow, WorldRow
from mambo.catalogue.schemas import LessonView, WorldView
from mambo.comments.schemas import CommentView
from mambo.courses import rules
from mambo.courses.schemas import LessonContent
from mambo.web.principal import Principal
from mambo.web.responses import EncodedResponse, encode, etag_of

FROM_ROW = tuple(name for name in LessonView.__struct_fields__ if name in LessonRow.__struct_fields__)
WORLD_FROM_ROW = tuple(name for name in WorldView.__struct_fields__ if name in WorldRow.__struct_fields__)
NOTHING_DONE = b'0.0,"is_locked":false}'


class Reader(enum.Enum):
    """For whom a lesson is encoded."""

    LOCKED_OUT = enum.auto()
    LEARNER = enum.auto()
    STAFF = enum.auto()


class LessonEntry:
    """A lesson and its neighbours in the course; `version` is that of its row."""

    def __init__(self, row: LessonRow, version: int) -> None:
        self.row, self.version = row, version
        self.previous: UUID | None = None
        self.next: UUID | None = None
        self._encoded: dict[Reader, tuple[bytes, bytes]] = {}

    @cached_property
    def content(self) -> LessonContent | None:
        """What the lesson holds, read when first asked for: one that nobody can read troubles no other lesson."""
        stored = self.row.content_json
        return None if stored is None else msgspec.json.decode(stored, type=LessonContent)

    @property
    def has_quiz(self) -> bool:
        return self.content is not None and bool(self.content.quiz)

    def encoded(self, reader: Reader) -> tuple[bytes, bytes]:
        """A `LessonView` as JSON: not completed, and completed."""
        if reader not in self._encoded:
            view = view_of(self.row, self.content if reader is not Reader.LOCKED_OUT else None, reader)
            self._encoded[reader] = (encode(view), encode(structs.replace(view, is_completed=True)))
        return self._encoded[reader]

    def detail(self, reader: Reader, comments: list[CommentView], *, is_completed: bool) -> EncodedResponse:
        """A `LessonDetail`."""
        rest = {
            "world_id": self.row.world_id,
            "next_lesson_id": self.next,
            "prev_lesson_id": self.previous,
            "comments": comments,
        }
        body = self.encoded(reader)[is_completed][:-1] + b"," + encode(rest)[1:]
        return EncodedResponse(body, etag_of(body))


class WorldEntry:
    """A course with its lessons in order."""

    def __init__(self, row: WorldRow, lessons: list[LessonEntry]) -> None:
        self.row, self.lessons = row, lessons
        fields = {name: getattr(row, name) for name in WORLD_FROM_ROW}
        view = WorldView(**fields, lesson_count=len(lessons), progress_percentage=0.0, is_locked=False)
        self._head = encode(view).removesuffix(NOTHING_DONE)
        self._tags: dict[Reader, str] = {}

    def access_of(self, visitor: Principal | None) -> Access:
        return access_to(visitor, is_published=self.row.is_published, is_free=self.row.is_free)

    def encoded(self, completed: int, *, is_locked: bool) -> bytes:
        """A `WorldView` as JSON."""
        end = b'%.1f,"is_locked":%s}' % (self.percentage(completed), b"true" if is_locked else b"false")
        return self._head + end

    def percentage(self, completed: int) -> float:
        return percentage_of(completed, len(self.lessons))

    def lessons_for(self, reader: Reader, completed: set[UUID]) -> EncodedResponse:
        """The lessons in order, as a list of `LessonView`."""
        done = [lesson.row.id in completed for lesson in self.lessons]
        body = b",".join([lesson.encoded(reader)[is_done] for lesson, is_done in zip(self.lessons, done, strict=True)])
        if reader not in self._tags:  # to hash all of it each time would take longer than all else
            self._tags[reader] = etag_of(*(lesson.encoded(reader)[0] for lesson in self.lessons))
        return EncodedResponse(b"[" + body + b"]", etag_of(self._tags[reader].encode(), bytes(done)))


class Snapshot:
    """The catalogue as it stood at a revision."""

    def __init__(self, revision: int | None, worlds: list[WorldEntry]) -> None:
        self.revision = revision
        self.worlds = {world.row.id: world for world in worlds}
        self.published = [world for world in worlds if world.row.is_published]
        self.lessons = {lesson.row.id: (lesson, world) for world in worlds for lesson in world.lessons}

    @cached_property
    def for_anyone(self) -> EncodedResponse:
        """The published courses as someone sees them who is not signed in."""
        return self.worlds_for(None, {})

    def worlds_for(self, visitor: Principal | None, completed: dict[UUID, int]) -> EncodedResponse:
        """The published courses as a list of `WorldView`; `completed` counts the visitor's lessons by course."""
        body = b",".join(
            world.encoded(completed.get(world.row.id, 0), is_locked=world.access_of(visitor) is not Access.OPEN)
            for world in self.published
        )
        return EncodedResponse(b"[" + body + b"]", etag_of(body))


class Catalogue:
    """The newest snapshot: it is replaced when a statement has seen another revision, or has not looked for a while.

    One rebuild serves all who wait for it, and reads only the lessons whose rows have changed.
    """

    def __init__(self, source: CatalogueRepository, *, seconds: float = 1.0) -> None:
        self._source, self._seconds = source, seconds
        self.newest = Snapshot(NEVER, [])
        self._rebuilding = asyncio.Lock()
        self._begun = self._succeeded = 0  # rebuilds, by number
        self._looked_at = -seconds

    def fresh(self) -> Snapshot | None:
        """The catalogue as it stood at most a second ago; None when nobody has looked since."""
        return self.newest if monotonic() - self._looked_at < self._seconds else None

    async def current(self) -> Snapshot:
        """The catalogue as it stood at most a second ago."""
        return self.fresh() or await self.look()

    async def look(self) -> Snapshot:
        """The catalogue as it stands."""
        return await self.at(await self._source.get_revision())

    async def at(self, revision: int | None) -> Snapshot:
        """The catalogue as it stood when a statement, which has just been answered, saw this revision; or newer."""
        begun, looked_at = self._begun, monotonic()
        if self.newest.revision != revision:
            async with self._rebuilding:
                # A rebuild that began since then is new enough.
                if self.newest.revision != revision and self._succeeded <= begun:
                    self._begun = number = self._begun + 1
                    self.newest = await self._rebuild()
                    self._succeeded = number
        self._looked_at = max(self._looked_at, looked_at)
        return self.newest

    async def _rebuild(self) -> Snapshot:
        kept = {id_: lesson for id_, (lesson, _) in self.newest.lessons.items()}
        async with self._source.snapshot() as source:
            revision, worlds, places = await source.get_revision(), await source.get_worlds(), await source.get_places()
            versions = {place.id: place.version for place in places}
            stale = [id_ for id_, version in versions.items() if id_ not in kept or kept[id_].version != version]
            fresh = {row.id: LessonEntry(row, versions[row.id]) async for row in source.get_lessons(stale)}
        lessons: dict[UUID, list[LessonEntry]] = {world.id: [] for world in worlds}
        for place in places:
            lessons[place.world_id].append(fresh.get(place.id) or kept[place.id])
        for neighbours in lessons.values():
            ids = [None, *(lesson.row.id for lesson in neighbours), None]
            for lesson, previous, following in zip(neighbours, ids, ids[2:], strict=False):
                lesson.previous, lesson.next = previous, following
        return Snapshot(revision, [WorldEntry(row, lessons[row.id]) for row in worlds])


def percentage_of(completed: int, lesson_count: int) -> float:
    """How much is done; what is counted a moment apart from the lessons is never more than all."""
    return round(100 * min(completed, lesson_count) / lesson_count, 1) if lesson_count else 0.0


def reader_of(visitor: Principal | None, access: Access) -> Reader:
    if access is not Access.OPEN:
        return Reader.LOCKED_OUT
    return Reader.STAFF if visitor is not None and visitor.is_staff else Reader.LEARNER


def view_of(row: LessonRow, content: LessonContent | None, reader: Reader) -> LessonView:
    """What a reader sees of a lesson: nothing worth paying for when locked out, no quiz answers but for staff."""
    fields = {name: getattr(row, name) for name in FROM_ROW}
    fields["duration_minutes"] = rules.minutes_of(row.duration_minutes, row.duration_seconds)
    fields["video_url"] = row.video_url or ""
    fields["content_json"] = content
    if reader is Reader.LOCKED_OUT:
        fields |= {"video_url": "", "mux_playback_id": None, "mux_asset_id": None}
    elif reader is Reader.LEARNER and content is not None:
        fields["content_json"] = rules.without_answers(content)
    return LessonView(**fields, is_completed=False, is_locked=reader is Reader.LOCKED_OUT)
