"""`/api/admin`: authoring of courses. The second path of a handler is for the first web client (see `web.openapi`)."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, patch, post, put, route
from litestar.di import NamedDependency, Provide
from litestar.enums import HttpMethod
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from mambo.courses.repository import CourseReadRepository, provide_course_reads
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
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises

Courses = NamedDependency[CourseReadRepository]
Service = NamedDependency[CourseService]
CHANGE = [HttpMethod.PATCH, HttpMethod.PUT]
STORAGE = raises(502, 503, 504)  # errors of the image storage


class CourseAdminController(Controller):
    path = "/api/admin"
    tags = ("Admin: courses",)
    guards = (requires_admin,)
    dependencies = {
        "courses": Provide(provide_course_reads, sync_to_thread=False),
        "service": Provide(provide_course_service, sync_to_thread=False),
    }

    @fast_get("/courses")
    async def list_courses(self, courses: Courses) -> list[CourseOut]:
        """All courses in order, drafts too."""
        return await courses.list_courses()

    @post("/courses", responses=raises(409) | STORAGE)
    async def create_course(self, data: JSONBody[CourseCreate], service: Service) -> CourseOut:
        """Create a course; it is a draft unless it says `is_published`."""
        return await service.create_course(data)

    @fast_get(["/courses/{course_id:uuid}", "/courses/{course_id:uuid}/full"], responses=raises(404))
    async def get_course(self, course_id: FromPath[UUID], courses: Courses) -> CourseDetails:
        """A course with its levels and lessons."""
        return await courses.get_details(course_id)

    @route("/courses/{course_id:uuid}", http_method=CHANGE, responses=raises(404, 409) | STORAGE)
    async def change_course(
        self, course_id: FromPath[UUID], data: JSONBody[CourseChange], service: Service
    ) -> CourseOut:
        """Change a course; absent means unchanged."""
        return await service.change_course(course_id, data)

    @delete("/courses/{course_id:uuid}", responses=raises(404, 409))
    async def delete_course(
        self,
        course_id: FromPath[UUID],
        service: Service,
        force: Annotated[bool, QueryParameter(description="Delete it though learners have progress in it")] = False,  # noqa: FBT002 - a query parameter
    ) -> None:
        """Delete a course with its levels and lessons; XP that was paid for them stays."""
        await service.delete_course(course_id, force=force)

    @put("/courses/{course_id:uuid}/order", responses=raises(404))
    async def order_lessons(
        self,
        course_id: FromPath[UUID],
        data: JSONBody[Annotated[list[LessonPlace], Meta(max_length=2000)]],
        service: Service,
    ) -> CourseDetails:
        """Move lessons of a course, all or none."""
        return await service.move_lessons(course_id, data)

    @post("/courses/{course_id:uuid}/levels", responses=raises(404))
    async def create_level(self, course_id: FromPath[UUID], data: JSONBody[LevelCreate], service: Service) -> LevelOut:
        """Add a level to a course."""
        return await service.create_level(course_id, data)

    @patch("/levels/{level_id:uuid}", responses=raises(404))
    async def change_level(self, level_id: FromPath[UUID], data: JSONBody[LevelChange], service: Service) -> LevelOut:
        """Change a level; absent means unchanged."""
        return await service.change_level(level_id, data)

    @delete("/levels/{level_id:uuid}", responses=raises(404))
    async def delete_level(self, level_id: FromPath[UUID], service: Service) -> None:
        """Delete a level with its lessons; XP that was paid for them stays."""
        await service.delete_level(level_id)

    @post("/courses/{course_id:uuid}/lessons", responses=raises(404, 409) | STORAGE)
    async def create_lesson(
        self, course_id: FromPath[UUID], data: JSONBody[LessonCreate], service: Service
    ) -> LessonOut:
        """Add a lesson to a course, in its first level when none is named."""
        return await service.create_lesson(course_id, data)

    @post("/levels/{level_id:uuid}/lessons", responses=raises(404, 409) | STORAGE)
    async def create_lesson_in_level(
        self, level_id: FromPath[UUID], data: JSONBody[LessonCreate], service: Service
    ) -> LessonOut:
        """Add a lesson to a level."""
        return await service.create_lesson_in_level(level_id, data)

    @fast_get("/lessons/{lesson_id:uuid}", responses=raises(404))
    async def get_lesson_for_admin(self, lesson_id: FromPath[UUID], courses: Courses) -> LessonOut:
        """A lesson with the answers to its quiz."""
        return await courses.get_lesson(lesson_id)

    @route("/lessons/{lesson_id:uuid}", http_method=CHANGE, responses=raises(404, 409) | STORAGE)
    async def change_lesson(
        self, lesson_id: FromPath[UUID], data: JSONBody[LessonChange], service: Service
    ) -> LessonOut:
        """Change a lesson; absent means unchanged, `delete_video` clears the video."""
        return await service.change_lesson(lesson_id, data)

    @delete("/lessons/{lesson_id:uuid}", responses=raises(404))
    async def delete_lesson(self, lesson_id: FromPath[UUID], service: Service) -> None:
        """Delete a lesson; XP that was paid for it stays."""
        await service.delete_lesson(lesson_id)
