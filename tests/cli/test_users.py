"""`mambo users` creates and changes accounts by the rules of the API, and shows no password.

Most tests run the command in this process, because a new process takes ten times as long to start.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from factories import Caller, School
from mambo.auth.passwords import HASHER
from mambo.cli import main
from mambo.cli.users import ROLE
from mambo.users.models import User
from mambo.web.principal import Role
from support.processes import MAMBO, ONE_SENTENCE, PATIENCE_SECONDS, end, sign_in

PASSWORD = "forward on six, back on two"
ANA = "ana@example.com"
CREATE = ("create", "--email", ANA, "--first-name", "Ana", "--last-name", "Ruiz", "--password-stdin")

Users = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def users(school: School, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    """Run the command on the database of the suite; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)  # a folder without a .env

    async def run(*arguments: str, stdin: str | bytes = "", url: str = database_url) -> tuple[int, str, str]:
        runner = CliRunner(env={"DATABASE_URL": url})
        # In a thread, because it starts an event loop.
        result = await asyncio.to_thread(runner.invoke, main, ["users", *arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def process(school: School, database_url: str, tmp_path: Path) -> Users:
    """Run the command as a process, so that several can run concurrently."""

    async def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = await start(arguments, tmp_path, database_url, stdin=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                out, err = await process.communicate(stdin.encode())
        finally:
            await end(process)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


async def start(arguments: tuple[str, ...], folder: Path, url: str, *, stdin: int) -> asyncio.subprocess.Process:
    """Start the command without a terminal, unless `stdin` is one."""
    return await asyncio.create_subprocess_exec(
        MAMBO,
        "users",
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "DATABASE_URL": url},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def create_account(school: School, role: Role = Role.USER, **user: Any) -> Caller:
    """Create an account with a password, and sign in."""
    return await school.person(role, password_hash=HASHER.hash(PASSWORD), **user)


async def sign_in_status(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> int:
    """Return the status of a sign-in."""
    return (await client.post("/api/auth/token", json={"email": email, "password": password})).status_code


async def stored(school: School, email: str) -> tuple[Role, bool]:
    async with school.sessions() as session:
        role, is_active = (await session.execute(sa.select(User.role, User.is_active).where(User.email == email))).one()
    return role, is_active


async def count_accounts(school: School) -> Any:
    return await school.scalar(sa.select(sa.func.count()).select_from(User))


# users create


async def test_the_first_admin_is_created_and_can_sign_in(process: Users, client: httpx.AsyncClient) -> None:
    code, out, err = await process(*CREATE, "--role", "admin", stdin=f"{PASSWORD}\n")

    headers = await sign_in(client, ANA, PASSWORD)
    listed = await client.get("/api/admin/users", headers=headers)
    assert (code, err) == (0, "")
    assert out == "ana@example.com can sign in, with the role admin.\n"
    [account] = listed.json()["items"]
    assert (account["email"], account["first_name"], account["last_name"]) == (ANA, "Ana", "Ruiz")


async def test_a_new_account_is_a_learners_with_the_email_address_in_lower_case(users: Users, school: School) -> None:
    code, _, _ = await users(*CREATE, "--email", "  ANA@Example.com ", stdin=PASSWORD)

    assert code == 0
    assert await stored(school, ANA) == (Role.USER, True)


@pytest.mark.parametrize("password", ["  ñandú 🕺💃 sí  ", "x" * 128])
async def test_the_password_is_the_whole_line_on_stdin(users: Users, client: httpx.AsyncClient, password: str) -> None:
    code, _, _ = await users(*CREATE, stdin=f"{password}\r\n")

    assert code == 0
    assert await sign_in_status(client, ANA, password) == 200


async def test_a_terminal_is_prompted_until_both_passwords_match_and_shows_none(
    school: School, client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    terminal, stdin = os.openpty()
    process = await start(CREATE[:-1], tmp_path, database_url, stdin=stdin)
    os.close(stdin)
    assert process.stderr is not None
    prompts = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for typed in (PASSWORD, "something else", PASSWORD, PASSWORD):
                prompts.append((await process.stderr.readuntil(b": ")).decode())
                os.write(terminal, f"{typed}\n".encode())
            out, err = await process.communicate()
    finally:
        await end(process)
        shown = read_to_the_end(terminal)

    assert (process.returncode, err.strip()) == (0, b"")
    assert len(prompts) == 4
    assert PASSWORD not in out.decode() + shown + "".join(prompts)
    assert await sign_in_status(client, ANA) == 200


def read_to_the_end(terminal: int) -> str:
    """Return the rest of the output of a terminal whose other end is closed, and close it."""
    shown = b""
    try:
        while more := os.read(terminal, 1024):
            shown += more
    except OSError:  # the end of the output on Linux
        pass
    os.close(terminal)
    return shown.decode()


INVALID: dict[str, tuple[tuple[str, ...], str | bytes]] = {
    "--email": (("--email", "ana"), PASSWORD),
    "--first-name": (("--first-name", " "), PASSWORD),
    "at least 8 characters": ((), "seven77\n"),
    "among the first that are guessed": ((), "Mambo2026!"),
    "is your e-mail address": (("--email", "Ana.Maria.Ruiz@example.com"), "ana.maria.ruiz"),
    "more than one line": ((), f"{PASSWORD}\n{PASSWORD}\n"),
    "is not UTF-8": ((), "contraseña larga".encode("latin-1")),
}


@pytest.mark.parametrize("words", INVALID)
async def test_invalid_input_is_reported_in_a_sentence_and_creates_nothing(
    users: Users, school: School, words: str
) -> None:
    arguments, password = INVALID[words]

    code, out, err = await users(*CREATE, *arguments, stdin=password)

    assert (code, out) == (1, "")
    assert ONE_SENTENCE.fullmatch(err.replace("Error: --", "Error: The ")), err
    assert words in err
    assert await count_accounts(school) == 0


async def test_an_existing_account_is_not_replaced(users: Users, school: School, client: httpx.AsyncClient) -> None:
    await create_account(school, email=ANA)

    code, _, err = await users(*CREATE, "--email", ANA.upper(), "--role", "admin", stdin="another password\n")

    assert code == 1
    assert ONE_SENTENCE.fullmatch(err), err
    assert (await stored(school, ANA), await sign_in_status(client, ANA)) == ((Role.USER, True), 200)


@pytest.mark.parametrize("arguments", [CREATE[:-1], ("set-password", ANA)], ids=["create", "set-password"])
async def test_without_a_terminal_the_error_names_the_option_for_pipes(
    users: Users, arguments: tuple[str, ...]
) -> None:
    code, _, err = await users(*arguments, stdin=PASSWORD)

    assert code == 1
    assert "--password-stdin" in err


@pytest.mark.parametrize("arguments", [CREATE, ("set-password", ANA)], ids=["create", "set-password"])
async def test_a_password_cannot_be_an_argument(users: Users, school: School, arguments: tuple[str, ...]) -> None:
    """The help has no such option, and a password that is passed anyway is refused and not shown."""
    _, help_text, _ = await users(arguments[0], "--help")
    code, out, err = await users(*arguments, f"--password={PASSWORD}", stdin="another password")

    assert re.findall(r"--password\S*", help_text) == ["--password-stdin"]
    assert code == 2
    assert PASSWORD not in out + err
    assert await count_accounts(school) == 0


async def test_the_choices_of_role_are_all_roles(users: Users, school: School) -> None:
    code, _, err = await users(*CREATE, "--role", "owner", stdin=PASSWORD)

    assert list(ROLE.choices) == list(Role)
    assert code == 2
    assert all(role in err for role in Role)
    assert await count_accounts(school) == 0


# users list


async def test_accounts_are_listed_newest_first_one_per_line(users: Users, school: School) -> None:
    await school.person(email="ben@example.com", first_name="Ben", last_name="[bold]Díaz :smile:")
    await school.person(Role.ADMIN, email=f"{'long' * 50}@example.com", first_name="A" * 200, last_name="B" * 200)
    await school.person(email="eva@example.com", first_name="Eva", last_name="Sol", is_active=False)

    code, out, err = await users("list")

    header, eva, admin, ben = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert header == ["E-mail", "Name", "Role", "State", "Since"]
    assert eva[:4] == ["eva@example.com", "Eva Sol", "user", "disabled"]
    assert admin[1:4] == [f"{'A' * 200} {'B' * 200}", "admin", "active"]
    assert ben[:4] == ["ben@example.com", "Ben [bold]Díaz :smile:", "user", "active"]


async def test_a_list_is_filtered_and_reports_when_there_are_more(users: Users, school: School) -> None:
    await school.person(Role.ADMIN, email="mara@example.com")
    for name in ("marisol", "mariana", "marta", "ben"):
        await school.person(email=f"{name}@example.com")

    code, out, err = await users("list", "--role", "user", "--search", "mar", "--limit", "2")

    assert code == 0
    assert [line.split("@")[0] for line in out.splitlines()[1:]] == ["marta", "mariana"]
    assert "There are more" in err


# users set-role, set-password, disable and enable


async def test_a_new_role_applies_to_the_next_request(users: Users, school: School) -> None:
    await school.admin()
    ana = await create_account(school, email=ANA)

    code, out, _ = await users("set-role", ANA.upper(), "admin")

    assert (code, out) == (0, "ana@example.com has the role admin.\n")
    assert (await ana.get("/api/admin/users")).status_code == 200


async def test_a_new_password_ends_every_session_and_the_old_password(
    users: Users, school: School, client: httpx.AsyncClient
) -> None:
    ana = await create_account(school, email=ANA)

    code, out, _ = await users("set-password", ANA, "--password-stdin", stdin="one two three five six seven\n")

    assert code == 0
    assert "seven" not in out
    assert (await ana.get("/api/auth/me")).status_code == 401
    assert await sign_in_status(client, ANA) == 401
    assert await sign_in_status(client, ANA, "one two three five six seven") == 200


@pytest.mark.parametrize("password", ["kQ#zv!2", ANA])
async def test_a_new_password_follows_the_same_rules(
    users: Users, school: School, client: httpx.AsyncClient, password: str
) -> None:
    ana = await create_account(school, email=ANA)

    code, _, err = await users("set-password", ANA, "--password-stdin", stdin=password)

    assert code == 1
    assert ONE_SENTENCE.fullmatch(err), err
    assert (await ana.get("/api/auth/me")).status_code == 200
    assert await sign_in_status(client, ANA) == 200


async def test_a_disabled_account_is_signed_out_until_it_is_enabled(
    users: Users, school: School, client: httpx.AsyncClient
) -> None:
    """Its old sessions stay ended."""
    ana = await create_account(school, email=ANA)

    disabled = await users("disable", ANA)
    while_disabled = (await ana.get("/api/auth/me")).status_code, await sign_in_status(client, ANA)
    enabled = await users("enable", ANA)

    assert [disabled[0], enabled[0]] == [0, 0]
    assert while_disabled == (401, 401)
    assert ((await ana.get("/api/auth/me")).status_code, await sign_in_status(client, ANA)) == (401, 200)


@pytest.mark.parametrize("arguments", [("disable", ANA), ("set-role", ANA, "instructor")], ids=["disable", "set-role"])
async def test_the_last_active_admin_cannot_be_removed(
    users: Users, school: School, arguments: tuple[str, ...]
) -> None:
    ana = await create_account(school, Role.ADMIN, email=ANA)
    await school.person(Role.ADMIN, is_active=False)

    code, out, err = await users(*arguments)

    assert (code, out) == (1, "")
    assert "only active admin" in err
    assert await stored(school, ANA) == (Role.ADMIN, True)
    assert (await ana.get("/api/admin/users")).status_code == 200


async def test_the_only_admin_can_be_set_to_admin_again(users: Users, school: School) -> None:
    await create_account(school, Role.ADMIN, email=ANA)

    code, _, err = await users("set-role", ANA, "admin")

    assert (code, err) == (0, "")
    assert await stored(school, ANA) == (Role.ADMIN, True)


async def test_of_two_admins_who_are_disabled_concurrently_one_stays(process: Users, school: School) -> None:
    for email in (ANA, "ben@example.com"):
        await create_account(school, Role.ADMIN, email=email)

    ends = await asyncio.gather(process("disable", ANA), process("disable", "ben@example.com"))

    assert sorted(code for code, _, _ in ends) == [0, 1]
    assert {(await stored(school, email))[1] for email in (ANA, "ben@example.com")} == {True, False}


@pytest.mark.parametrize(
    "arguments",
    [("set-role", ANA, "admin"), ("set-password", ANA, "--password-stdin"), ("disable", ANA)],
    ids=lambda arguments: arguments[0],
)
async def test_an_unknown_account_is_an_error(users: Users, arguments: tuple[str, ...]) -> None:
    code, out, err = await users(*arguments, stdin=PASSWORD)

    assert (code, out) == (1, "")
    assert err == f"Error: There is no such account: {ANA}.\n"


async def test_an_empty_database_must_be_migrated_first(users: Users, make_database: Callable[[str], Any]) -> None:
    url = await make_database("mambo_users_empty")

    code, out, err = await users(*CREATE, stdin=PASSWORD, url=url)

    assert (code, out) == (1, "")
    assert "mambo db upgrade" in err
    assert PASSWORD not in err
