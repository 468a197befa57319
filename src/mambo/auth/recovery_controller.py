"""`/api/auth`: a forgotten password, and whether an e-mail address is one's own."""

from litestar import Controller, Response, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.auth.recovery import RecoveryService, provide_recovery_service
from mambo.auth.schemas import ForgottenPassword, OnItsWay, PasswordReset, Verification
from mambo.auth.service import provide_session_service
from mambo.limits.rules import FORGOT_ADDRESS
from mambo.web.guards import IGNORES_TOKEN, open_to_anyone, requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal


class RecoveryController(Controller):
    path = "/api/auth"
    tags = ("Authentication",)
    guards = (open_to_anyone,)
    opt = {IGNORES_TOKEN: True}
    cache_control = CacheControlHeader(no_store=True)
    dependencies = {"recovery": Provide(provide_recovery_service), "sessions": Provide(provide_session_service)}

    @post("/forgot-password", status_code=202, rate_limit=FORGOT_ADDRESS, responses=raises(429))
    async def forget_password(
        self, data: JSONBody[ForgottenPassword], recovery: NamedDependency[RecoveryService]
    ) -> Response[OnItsWay]:
        """Send a link to set a new password, if there is an account with the address; the answer is always the same."""
        user = await recovery.find(data.email)
        return Response(
            OnItsWay(detail="If there is an account with this address, an e-mail is on its way to it."),
            background=BackgroundTask(recovery.letters.send_reset, user.id, user.email) if user else None,
        )

    @post("/reset-password", status_code=204)
    async def reset_password(self, data: JSONBody[PasswordReset], recovery: NamedDependency[RecoveryService]) -> None:
        """Set a new password with the token of the e-mail; every session ends."""
        await recovery.reset_password(data.token, data.new_password)

    @post("/verify-email", status_code=204)
    async def verify_email(self, data: JSONBody[Verification], recovery: NamedDependency[RecoveryService]) -> None:
        """Show with the token of the e-mail that the address is one's own."""
        await recovery.verify_email(data.token)


@post(
    "/api/auth/resend-verification",
    tags=["Authentication"],
    guards=[requires_user],
    dependencies={"recovery": Provide(provide_recovery_service), "sessions": Provide(provide_session_service)},
    status_code=202,
    responses=raises(409, 429),
)
async def resend_verification(
    principal: NamedDependency[Principal], recovery: NamedDependency[RecoveryService]
) -> Response[OnItsWay]:
    """Send the link that verifies one's own address again; older ones work no more."""
    user = await recovery.find_unverified(principal.user_id)
    return Response(
        OnItsWay(detail="An e-mail is on its way to you."),
        background=BackgroundTask(recovery.letters.send_verification, user.id, user.email),
    )
