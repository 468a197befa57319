"""`/api/admin/users`: everyone's accounts, for admins."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Controller, patch
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.accounts.repository import AccountReadRepository, provide_account_reads
from mambo.accounts.schemas import Account, AccountChange
from mambo.accounts.service import AccountService, provide_account_service
from mambo.web.guards import requires_admin
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Role
from mambo.web.schemas import INT4_MAX, STORABLE, Page

Search = Annotated[
    str | None, QueryParameter(max_length=200, pattern=STORABLE, description="Part of a name or an e-mail address")
]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]


class UserAdminController(Controller):
    path = "/api/admin"
    tags = ("Admin: people",)
    guards = (requires_admin,)
    dependencies = {
        "accounts": Provide(provide_account_service, sync_to_thread=False),
        "account_reads": Provide(provide_account_reads, sync_to_thread=False),
    }

    @fast_get("/users")
    async def list_users(
        self,
        account_reads: NamedDependency[AccountReadRepository],
        now: NamedDependency[datetime],
        search: Search = None,
        role: Annotated[Role | None, QueryParameter()] = None,
        limit: Limit = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[Account]:
        """List accounts, the newest first."""
        return await account_reads.get_page(search, role, now, limit=limit, before=cursor)

    @fast_get("/students")
    async def list_students(
        self,
        account_reads: NamedDependency[AccountReadRepository],
        now: NamedDependency[datetime],
        search: Search = None,
        skip: Annotated[int, QueryParameter(ge=0, le=INT4_MAX)] = 0,
        limit: Limit = 100,
    ) -> list[Account]:
        """List accounts as a plain list, the newest first: `/api/admin/users` for the first web client."""
        return await account_reads.get_list(search, None, now, limit=limit, skip=skip)

    @fast_get("/users/{user_id:uuid}", responses=raises(404))
    async def get_user(
        self,
        user_id: FromPath[UUID],
        account_reads: NamedDependency[AccountReadRepository],
        now: NamedDependency[datetime],
    ) -> Account:
        """Return one account."""
        return await account_reads.get(user_id, now)

    @patch("/users/{user_id:uuid}", responses=raises(404, 409))
    async def change_user(
        self,
        user_id: FromPath[UUID],
        data: JSONBody[AccountChange],
        accounts: NamedDependency[AccountService],
    ) -> Account:
        """Change an account's role, state or subscription; the last active admin cannot be removed."""
        return await accounts.change(user_id, data)
