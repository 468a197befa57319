"""`mambo users`: accounts made and changed under the API's rules, and no password where it can be read.

A process where that tells something, and else the command in this one, which starts in a tenth of the time.
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
    """Runs the command on the suite's database; returns its exit code and what it printed on stdout and stderr."""
    monkeypatch.chdir(tmp_path)  # a folder without a .env

    async def run(*arguments: str, stdin: str | bytes = "", url: str = database_url) -> tuple[int, str, str]:
        runner = CliRunner(env={"DATABASE_URL": url})
        # In a thread, for it starts an event loop of its own.
        result = await asyncio.to_thread(runner.invoke, main, ["users", *arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def process(school: School, database_url: str, tmp_path: Path) -> Users:
    """The same as a process, of which several may run at once."""

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
    """Start the command, with no terminal to ask but what `stdin` may be."""
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


async def person(school: School, role: Role = Role.USER, **user: Any) -> Caller:
    """Someone with a password, signed in."""
    return await school.person(role, password_hash=HASHER.hash(PASSWORD), **user)


async def status(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> int:
    """How a sign-in is answered."""
    return (await client.post("/api/auth/token", json={"email": email, "password": password})).status_code


async def stored(school: School, email: str) -> tuple[Role, bool]:
    async with school.sessions() as session:
        role, is_active = (await session.execute(sa.select(User.role, User.is_active).where(User.email == email))).one()
    return role, is_active


async def number_of_accounts(school: School) -> Any:
    return await school.scalar(sa.select(sa.func.count()).select_from(User))


# Create


async def test_the_first_admin_is_made_and_signs_in(process: Users, client: httpx.AsyncClient) -> None:
    code, out, err = await process(*CREATE, "--role", "admin", stdin=f"{PASSWORD}\n")

    headers = await sign_in(client, ANA, PASSWORD)
    listed = await client.get("/api/admin/users", headers=headers)
    assert (code, err) == (0, "")
    assert out == "ana@example.com can sign in, with the role admin.\n"
    [account] = listed.json()["items"]
    assert (account["email"], account["first_name"], account["last_name"]) == (ANA, "Ana", "Ruiz")


async def test_an_account_is_a_learners_and_its_email_in_lower_case(users: Users, school: School) -> None:
    code, _, _ = await users(*CREATE, "--email", "  ANA@Example.com ", stdin=PASSWORD)

    assert code == 0
    assert await stored(school, ANA) == (Role.USER, True)


@pytest.mark.parametrize("password", ["  ñandú 🕺💃 sí  ", "x" * 128])
async def test_the_password_is_the_line_on_stdin_to_the_last_space(
    users: Users, client: httpx.AsyncClient, password: str
) -> None:
    code, _, _ = await users(*CREATE, stdin=f"{password}\r\n")

    assert code == 0
    assert await status(client, ANA, password) == 200


async def test_a_terminal_is_asked_until_the_password_came_twice_and_shows_nothing(
    school: School, client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    process = await start(CREATE[:-1], tmp_path, database_url, stdin=theirs)
    os.close(theirs)
    assert process.stderr is not None
    asked = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for typed in (PASSWORD, "something else", PASSWORD, PASSWORD):
                asked.append((await process.stderr.readuntil(b": ")).decode())
                os.write(ours, f"{typed}\n".encode())
            out, err = await process.communicate()
    finally:
        await end(process)
        shown = read_to_the_end(ours)

    assert (process.returncode, err.strip()) == (0, b"")
    assert len(asked) == 4
    assert PASSWORD not in out.decode() + shown + "".join(asked)
    assert await status(client, ANA) == 200


def read_to_the_end(terminal: int) -> str:
    """What a terminal, whose other end is closed, still shows."""
    shown = b""
    try:
        while more := os.read(terminal, 1024):
            shown += more
    except OSError:  # so Linux tells the end
        pass
    os.close(terminal)
    return shown.decode()


MISTAKES: dict[str, tuple[tuple[str, ...], str | bytes]] = {
    "--email": (("--email", "ana"), PASSWORD),
    "--first-name": (("--first-name", " "), PASSWORD),
    "at least 8 characters": ((), "seven77\n"),
    "among the first that are guessed": ((), "Mambo2026!"),
    "is your e-mail address": (("--email", "Ana.Maria.Ruiz@example.com"), "ana.maria.ruiz"),
    "more than one line": ((), f"{PASSWORD}\n{PASSWORD}\n"),
    "is not UTF-8": ((), "contraseña larga".encode("latin-1")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_told_in_a_sentence_and_makes_nothing(users: Users, school: School, mistake: str) -> None:
    arguments, password = MISTAKES[mistake]

    code, out, err = await users(*CREATE, *arguments, stdin=password)

    assert (code, out) == (1, "")
    assert ONE_SENTENCE.fullmatch(err.replace("Error: --", "Error: The ")), err
    assert mistake in err
    assert await number_of_accounts(school) == 0


async def test_an_email_that_has_an_account_keeps_it(users: Users, school: School, client: httpx.AsyncClient) -> None:
    await person(school, email=ANA)

    code, _, err = await users(*CREATE, "--email", ANA.upper(), "--role", "admin", stdin="another password\n")

    assert code == 1
    assert ONE_SENTENCE.fullmatch(err), err
    assert (await stored(school, ANA), await status(client, ANA)) == ((Role.USER, True), 200)


@pytest.mark.parametrize("arguments", [CREATE[:-1], ("set-password", ANA)], ids=["create", "set-password"])
async def test_without_a_terminal_it_says_how_to_pipe_the_password(users: Users, arguments: tuple[str, ...]) -> None:
    code, _, err = await users(*arguments, stdin=PASSWORD)

    assert code == 1
    assert "--password-stdin" in err


@pytest.mark.parametrize("arguments", [CREATE, ("set-password", ANA)], ids=["create", "set-password"])
async def test_no_argument_takes_a_password(users: Users, school: School, arguments: tuple[str, ...]) -> None:
    """Neither is one offered by the help, nor is one taken, nor shown when it is typed all the same."""
    _, help_text, _ = await users(arguments[0], "--help")
    code, out, err = await users(*arguments, f"--password={PASSWORD}", stdin="another password")

    assert re.findall(r"--password\S*", help_text) == ["--password-stdin"]
    assert code == 2
    assert PASSWORD not in out + err
    assert await number_of_accounts(school) == 0


async def test_the_roles_that_can_be_given_are_those_that_there_are(users: Users, school: School) -> None:
    code, _, err = await users(*CREATE, "--role", "owner", stdin=PASSWORD)

    assert list(ROLE.choices) == list(Role)
    assert code == 2
    assert all(role in err for role in Role)
    assert await number_of_accounts(school) == 0


# List


async def test_accounts_are_listed_a_line_each_the_newest_first(users: Users, school: School) -> None:
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


async def test_a_list_holds_who_is_looked_for_and_says_when_there_are_more(users: Users, school: School) -> None:
    await school.person(Role.ADMIN, email="mara@example.com")
    for name in ("marisol", "mariana", "marta", "ben"):
        await school.person(email=f"{name}@example.com")

    code, out, err = await users("list", "--role", "user", "--search", "mar", "--limit", "2")

    assert code == 0
    assert [line.split("@")[0] for line in out.splitlines()[1:]] == ["marta", "mariana"]
    assert "There are more" in err


# Change


async def test_a_role_counts_at_the_next_request(users: Users, school: School) -> None:
    await school.admin()
    ana = await person(school, email=ANA)

    code, out, _ = await users("set-role", ANA.upper(), "admin")

    assert (code, out) == (0, "ana@example.com has the role admin.\n")
    assert (await ana.get("/api/admin/users")).status_code == 200


async def test_a_new_password_ends_every_session_and_the_old_password(
    users: Users, school: School, client: httpx.AsyncClient
) -> None:
    ana = await person(school, email=ANA)

    code, out, _ = await users("set-password", ANA, "--password-stdin", stdin="one two three five six seven\n")

    assert code == 0
    assert "seven" not in out
    assert (await ana.get("/api/auth/me")).status_code == 401
    assert await status(client, ANA) == 401
    assert await status(client, ANA, "one two three five six seven") == 200


@pytest.mark.parametrize("password", ["kQ#zv!2", ANA])
async def test_a_new_password_is_held_to_the_same_rules(
    users: Users, school: School, client: httpx.AsyncClient, password: str
) -> None:
    ana = await person(school, email=ANA)

    code, _, err = await users("set-password", ANA, "--password-stdin", stdin=password)

    assert code == 1
    assert ONE_SENTENCE.fullmatch(err), err
    assert (await ana.get("/api/auth/me")).status_code == 200
    assert await status(client, ANA) == 200


async def test_a_disabled_account_is_signed_out_until_it_is_enabled(
    users: Users, school: School, client: httpx.AsyncClient
) -> None:
    """And its old sessions stay ended then."""
    ana = await person(school, email=ANA)

    disabled = await users("disable", ANA)
    while_disabled = (await ana.get("/api/auth/me")).status_code, await status(client, ANA)
    enabled = await users("enable", ANA)

    assert [disabled[0], enabled[0]] == [0, 0]
    assert while_disabled == (401, 401)
    assert ((await ana.get("/api/auth/me")).status_code, await status(client, ANA)) == (401, 200)


@pytest.mark.parametrize("arguments", [("disable", ANA), ("set-role", ANA, "instructor")], ids=["disable", "set-role"])
async def test_the_last_active_admin_stays(users: Users, school: School, arguments: tuple[str, ...]) -> None:
    ana = await person(school, Role.ADMIN, email=ANA)
    await school.person(Role.ADMIN, is_active=False)

    code, out, err = await users(*arguments)

    assert (code, out) == (1, "")
    assert "only active admin" in err
    assert await stored(school, ANA) == (Role.ADMIN, True)
    assert (await ana.get("/api/admin/users")).status_code == 200


async def test_the_only_admin_can_be_made_an_admin_again(users: Users, school: School) -> None:
    await person(school, Role.ADMIN, email=ANA)

    code, _, err = await users("set-role", ANA, "admin")

    assert (code, err) == (0, "")
    assert await stored(school, ANA) == (Role.ADMIN, True)


async def test_of_two_admins_who_are_disabled_at_once_one_stays(process: Users, school: School) -> None:
    for email in (ANA, "ben@example.com"):
        await person(school, Role.ADMIN, email=email)

    ends = await asyncio.gather(process("disable", ANA), process("disable", "ben@example.com"))

    assert sorted(code for code, _, _ in ends) == [0, 1]
    assert {(await stored(school, email))[1] for email in (ANA, "ben@example.com")} == {True, False}


@pytest.mark.parametrize(
    "arguments",
    [("set-role", ANA, "admin"), ("set-password", ANA, "--password-stdin"), ("disable", ANA)],
    ids=lambda arguments: arguments[0],
)
async def test_an_unknown_account_is_told(users: Users, arguments: tuple[str, ...]) -> None:
    code, out, err = await users(*arguments, stdin=PASSWORD)

    assert (code, out) == (1, "")
    assert err == f"Error: There is no such account: {ANA}.\n"


async def test_an_empty_database_is_to_be_migrated_first(users: Users, make_database: Callable[[str], Any]) -> None:
    url = await make_database("mambo_users_empty")

    code, out, err = await users(*CREATE, stdin=PASSWORD, url=url)

    assert (code, out) == (1, "")
    assert "mambo db upgrade" in err
    assert PASSWORD not in err
