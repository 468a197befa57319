"""A person's own profile."""

from typing import Any

from litestar import Controller, Request, patch
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.accounts.repository import ProfileReader, provide_profile_reader
from mambo.accounts.schemas import Profile, ProfileChange
from mambo.accounts.service import AccountService, provide_account_service
from mambo.web.guards import requires_user
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal, principal_of
from mambo.web.schemas import as_struct


class ProfileController(Controller):
    path = "/api"
    tags = ("Profile",)
    guards = (requires_user,)
    dependencies = {
        "accounts": Provide(provide_account_service),
        "profiles": Provide(provide_profile_reader, sync_to_thread=False),
    }

    @fast_get(["/users/me", "/auth/me"])
    async def get_profile(self, request: Request[Any, Any, Any], profiles: NamedDependency[ProfileReader]) -> Profile:
        """One's own profile."""
        return as_struct(await profiles.get(principal_of(request).user_id), Profile)

    @patch("/users/me", responses=raises(409, 502, 504))
    async def change_profile(
        self,
        data: JSONBody[ProfileChange],
        principal: NamedDependency[Principal],
        accounts: NamedDependency[AccountService],
    ) -> Profile:
        """Change one's own profile; absent means unchanged. The time zone can change once in 24 hours."""
        return as_struct(await accounts.change_own(principal.user_id, data), Profile)
