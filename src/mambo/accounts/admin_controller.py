"""`/api/admin/users`: everyone's accounts, for admins."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Controller, get, patch
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.accounts.repository import AccountRepository, provide_account_repository
from mambo.accounts.schemas import Account, AccountChange
from mambo.accounts.service import AccountService, provide_account_service
from mambo.web.guards import requires_admin
from mambo.web.openapi import raises
from mambo.web.principal import Role
from mambo.web.schemas import INT4_MAX, STORABLE, Page, as_struct

Search = Annotated[
    str | None, QueryParameter(max_length=200, pattern=STORABLE, description="Part of a name or an e-mail address")
]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]


class UserAdminController(Controller):
    path = "/api/admin"
    tags = ("Admin: people",)
    guards = (requires_admin,)
    dependencies = {"accounts": Provide(provide_account_service), "people": Provide(provide_account_repository)}

    @get("/users")
    async def list_users(
        self,
        people: NamedDependency[AccountRepository],
        now: NamedDependency[datetime],
        search: Search = None,
        role: Annotated[Role | None, QueryParameter()] = None,
        limit: Limit = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[Account]:
        """Accounts, the newest first."""
        found = await people.find_people(now, search, role, limit=limit + 1, before=cursor)
        items = [as_struct(person, Account) for person in found[:limit]]
        return Page(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)

    @get("/students")
    async def list_students(
        self,
        people: NamedDependency[AccountRepository],
        now: NamedDependency[datetime],
        search: Search = None,
        skip: Annotated[int, QueryParameter(ge=0, le=INT4_MAX)] = 0,
        limit: Limit = 100,
    ) -> list[Account]:
        """Accounts as a plain list, the newest first: `/api/admin/users` as the first web client spells it."""
        return [
            as_struct(person, Account) for person in await people.find_people(now, search, None, limit=limit, skip=skip)
        ]

    @get("/users/{user_id:uuid}", responses=raises(404))
    async def get_user(self, user_id: FromPath[UUID], accounts: NamedDependency[AccountService]) -> Account:
        """One account."""
        return as_struct(await accounts.get(user_id), Account)

    @patch("/users/{user_id:uuid}", responses=raises(404, 409))
    async def change_user(
        self,
        user_id: FromPath[UUID],
        data: JSONBody[AccountChange],
        accounts: NamedDependency[AccountService],
    ) -> Account:
        """Change an account's role, state or subscription; the last active admin stays one."""
        return as_struct(await accounts.change_any(user_id, data), Account)
