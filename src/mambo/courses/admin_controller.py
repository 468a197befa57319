"""`/api/admin`: building courses. The first web client's spellings are served by the same handlers (see `openapi`)."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, patch, post, put, route
from litestar.di import NamedDependency, Provide
from litestar.enums import HttpMethod
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from mambo.courses.schemas import (
    CourseChange,
    CourseCreate,
    CourseDetails,
    CourseOut,
    LessonChange,
    LessonCreate,
    LessonOut,
    LessonPlace,
    LevelChange,
    LevelCreate,
    LevelOut,
)
from mambo.courses.service import CourseService, provide_course_service
from mambo.web.guards import requires_admin
from mambo.web.openapi import raises
from mambo.web.schemas import as_struct

Builder = NamedDependency[CourseService]
CHANGE = [HttpMethod.PATCH, HttpMethod.PUT]
STORAGE = raises(502, 503, 504)  # what asking the picture storage can end in


class CourseAdminController(Controller):
    path = "/api/admin"
    tags = ("Admin: courses",)
    guards = (requires_admin,)
    dependencies = {"builder": Provide(provide_course_service)}

    @get("/courses")
    async def list_courses(self, builder: Builder) -> list[CourseOut]:
        """All courses in order, drafts too."""
        return await builder.list_courses()

    @post("/courses", responses=raises(409) | STORAGE)
    async def create_course(self, data: JSONBody[CourseCreate], builder: Builder) -> CourseOut:
        """Make a course; it is a draft unless it says `is_published`."""
        return await builder.create_course(data)

    @get(["/courses/{course_id:uuid}", "/courses/{course_id:uuid}/full"], responses=raises(404))
    async def get_course(self, course_id: FromPath[UUID], builder: Builder) -> CourseDetails:
        """A course with its levels and lessons."""
        return await builder.get_course(course_id)

    @route("/courses/{course_id:uuid}", http_method=CHANGE, responses=raises(404, 409) | STORAGE)
    async def change_course(
        self, course_id: FromPath[UUID], data: JSONBody[CourseChange], builder: Builder
    ) -> CourseOut:
        """Change a course; absent means unchanged."""
        return await builder.change_course(course_id, data)

    @put("/courses/{course_id:uuid}/order", responses=raises(404))
    async def order_lessons(
        self,
        course_id: FromPath[UUID],
        data: JSONBody[Annotated[list[LessonPlace], Meta(max_length=2000)]],
        builder: Builder,
    ) -> CourseDetails:
        """Move lessons of a course, all or none."""
        return await builder.reorder(course_id, data)

    @post("/courses/{course_id:uuid}/levels", responses=raises(404))
    async def create_level(self, course_id: FromPath[UUID], data: JSONBody[LevelCreate], builder: Builder) -> LevelOut:
        """Add a level to a course."""
        return as_struct(await builder.create_level(course_id, data), LevelOut)

    @patch("/levels/{level_id:uuid}", responses=raises(404))
    async def change_level(self, level_id: FromPath[UUID], data: JSONBody[LevelChange], builder: Builder) -> LevelOut:
        """Change a level; absent means unchanged."""
        return as_struct(await builder.change_level(level_id, data), LevelOut)

    @delete("/levels/{level_id:uuid}", responses=raises(404))
    async def delete_level(self, level_id: FromPath[UUID], builder: Builder) -> None:
        """Delete a level with its lessons; XP that was paid for them stays."""
        await builder.delete_level(level_id)

    @post("/courses/{course_id:uuid}/lessons", responses=raises(404, 409) | STORAGE)
    async def create_lesson(
        self, course_id: FromPath[UUID], data: JSONBody[LessonCreate], builder: Builder
    ) -> LessonOut:
        """Add a lesson to a course, in its first level when none is named."""
        return await builder.create_lesson(course_id, data)

    @post("/levels/{level_id:uuid}/lessons", responses=raises(404, 409) | STORAGE)
    async def create_lesson_in_level(
        self, level_id: FromPath[UUID], data: JSONBody[LessonCreate], builder: Builder
    ) -> LessonOut:
        """Add a lesson to a level."""
        return await builder.create_lesson_in_level(level_id, data)

    @get("/lessons/{lesson_id:uuid}", responses=raises(404))
    async def get_lesson_for_admin(self, lesson_id: FromPath[UUID], builder: Builder) -> LessonOut:
        """A lesson, answers included."""
        return await builder.get_lesson(lesson_id)

    @route("/lessons/{lesson_id:uuid}", http_method=CHANGE, responses=raises(404, 409) | STORAGE)
    async def change_lesson(
        self, lesson_id: FromPath[UUID], data: JSONBody[LessonChange], builder: Builder
    ) -> LessonOut:
        """Change a lesson; absent means unchanged, `delete_video` clears the video."""
        return await builder.change_lesson(lesson_id, data)

    @delete("/lessons/{lesson_id:uuid}", responses=raises(404))
    async def delete_lesson(self, lesson_id: FromPath[UUID], builder: Builder) -> None:
        """Delete a lesson; XP that was paid for it stays."""
        await builder.delete_lesson(lesson_id)
