"""A person's own profile."""

from typing import Any

from litestar import Controller, Request, patch
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.guards import Principal, principal_of, requires_user
from mambo.openapi import raises
from mambo.people.repository import ProfileReader, provide_profile_reader
from mambo.people.schemas import Profile, ProfileChange
from mambo.people.service import Accounts, provide_accounts
from mambo.schema import as_struct
from mambo.tagged import Answer, answers, encode, hot_get


class ProfileController(Controller):
    path = "/api"
    tags = ("Profile",)
    guards = (requires_user,)
    dependencies = {"accounts": Provide(provide_accounts), "profiles": Provide(provide_profile_reader)}

    @hot_get(["/users/me", "/auth/me"], responses=answers(Profile))
    async def get_profile(self, request: Request[Any, Any, Any], profiles: NamedDependency[ProfileReader]) -> Answer:
        """One's own profile."""
        return Answer(encode(as_struct(await profiles.get(principal_of(request).user_id), Profile)))

    @patch("/users/me", responses=raises(409, 502, 504))
    async def change_profile(
        self,
        data: JSONBody[ProfileChange],
        principal: NamedDependency[Principal],
        accounts: NamedDependency[Accounts],
    ) -> Profile:
        """Change one's own profile; absent means unchanged. The time zone can change once in 24 hours."""
        return as_struct(await accounts.change_own(principal.user_id, data), Profile)
