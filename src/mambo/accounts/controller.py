"""`/api/users/me`: a person's own profile."""

from datetime import datetime
from typing import Any

from litestar import Controller, Request, patch
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.accounts.repository import AccountReadRepository, provide_account_reads
from mambo.accounts.schemas import Profile, ProfileChange
from mambo.accounts.service import AccountService, provide_account_service
from mambo.web.guards import requires_user
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal, principal_of


class ProfileController(Controller):
    path = "/api"
    tags = ("Profile",)
    guards = (requires_user,)
    dependencies = {
        "accounts": Provide(provide_account_service, sync_to_thread=False),
        "account_reads": Provide(provide_account_reads, sync_to_thread=False),
    }

    @fast_get(["/users/me", "/auth/me"])
    async def get_profile(
        self,
        request: Request[Any, Any, Any],
        account_reads: NamedDependency[AccountReadRepository],
        now: NamedDependency[datetime],
    ) -> Profile:
        """Return your own profile."""
        return await account_reads.get_profile(principal_of(request).user_id, now)

    @patch("/users/me", responses=raises(409, 502, 504))
    async def change_profile(
        self,
        data: JSONBody[ProfileChange],
        principal: NamedDependency[Principal],
        accounts: NamedDependency[AccountService],
    ) -> Profile:
        """Change your own profile; absent means unchanged. The time zone can change once in 24 hours."""
        return await accounts.change_own(principal.user_id, data)
