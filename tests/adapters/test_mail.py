"""Sending e-mail: to a real SMTP server on loopback, with and without TLS, and to a folder."""

import asyncio
import logging
import socket
import ssl
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
import trustme
from litestar import Litestar

from conftest import START, TurnableClock
from mambo.adapters.mail import MAX_CONNECTIONS, MAX_WAITING, FileMailer, Mail, SmtpMailer, parse_address
from mambo.errors import DependencyFailed, DependencyTimedOut, Invalid, Unavailable
from mambo.settings.smtp import read_smtp_url
from mambo.users.rules import normalize_email, require_email
from support.mail import MailServer, serving, text_of

SENDER = "The Mambo Inn <school@mambo.example>"
LINK = f"https://app.mambo.example/reset-password?token={'x' * 43}"
MAIL = Mail("ana@example.com", "Set a new password", f"Here:\n\n{LINK}\n", f'<p><a href="{LINK}">Here</a>, olé</p>')
LOGIN = ("school@mambo.example", "p@ss/wörd")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The TLS context of a server, with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this machine trust the authority."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


def mailer(url: str, *, seconds: float = 10) -> SmtpMailer:
    return SmtpMailer(read_smtp_url(url), SENDER, TurnableClock(), seconds=seconds)


def with_login(url: str, login: tuple[str, str] = LOGIN) -> str:
    user, password = (part.replace("@", "%40").replace("/", "%2F").replace("ö", "%C3%B6") for part in login)
    return url.replace("://", f"://{user}:{password}@")


# SMTP


async def test_a_mail_arrives_as_text_and_as_html(mailbox: MailServer) -> None:
    """Long links are not wrapped; the headers have a date, an id, and a mark against automatic replies."""
    await mailer(mailbox.url).send(MAIL)

    recipients, message = mailbox.arrived.get_nowait()
    assert recipients == ["ana@example.com"]
    assert mailbox.senders[-1] == "school@mambo.example"
    assert (message["From"], message["To"], message["Subject"]) == (SENDER, "ana@example.com", MAIL.subject)
    assert message["Date"].datetime == START
    assert message["Message-ID"].endswith("@mambo.example>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    assert text_of(message) == MAIL.text
    assert text_of(message, "html").strip() == MAIL.html


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("at_once", [False, True], ids=["STARTTLS", "smtps"])
async def test_the_client_authenticates_over_tls(tls: ssl.SSLContext, at_once: bool) -> None:
    server = MailServer(username=LOGIN[0], password=LOGIN[1])
    async with serving(server, tls=tls, at_once=at_once):
        await mailer(with_login(server.url)).send(MAIL)

    assert server.logins == [(*LOGIN, True)]
    assert server.arrived.qsize() == 1


@pytest.mark.parametrize("at_once", [False, True], ids=["STARTTLS", "smtps"])
async def test_an_untrusted_certificate_is_refused(tls: ssl.SSLContext, at_once: bool) -> None:
    server = MailServer()
    async with serving(server, tls=tls, at_once=at_once):
        with pytest.raises(DependencyFailed, match="certificate"):
            await mailer(server.url).send(MAIL)

    assert server.arrived.empty()


async def test_a_password_is_not_sent_without_tls(mailbox: MailServer) -> None:
    """Not even if the server does not offer STARTTLS, which an attacker could have removed."""
    server = MailServer(username=LOGIN[0], password=LOGIN[1])
    async with serving(server):
        with pytest.raises(DependencyFailed, match="STARTTLS"):
            await mailer(with_login(server.url)).send(MAIL)

    assert server.logins == []


async def test_a_password_is_sent_without_tls_if_the_url_says_so(mailbox: MailServer) -> None:
    server = MailServer(username=LOGIN[0], password=LOGIN[1])
    async with serving(server):
        await mailer(f"{with_login(server.url)}?starttls=never").send(MAIL)

    assert server.logins == [(*LOGIN, False)]


@pytest.mark.usefixtures("trusted")
async def test_a_wrong_password_is_reported(tls: ssl.SSLContext) -> None:
    server = MailServer(username=LOGIN[0], password=LOGIN[1])
    async with serving(server, tls=tls):
        with pytest.raises(DependencyFailed, match="user or password of SMTP_URL"):
            await mailer(with_login(server.url, (LOGIN[0], "wrong"))).send(MAIL)

    assert server.arrived.empty()


@pytest.mark.parametrize(
    ("reply", "error"),
    [("550 no such ana@example.com", DependencyFailed), ("451 greylisted ana@example.com", Unavailable)],
)
@pytest.mark.parametrize("step", ["rcpt_reply", "data_reply"])
async def test_a_refusal_contains_the_code_and_no_address(
    mailbox: MailServer, step: str, reply: str, error: type[Exception]
) -> None:
    """The server's text contains the address, which must not be logged."""
    setattr(mailbox, step, reply)

    with pytest.raises(error, match=reply[:3]) as raised:
        await mailer(mailbox.url).send(MAIL)

    assert "ana" not in str(raised.value)


async def test_a_server_that_hangs_times_out() -> None:
    async with await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0) as server:
        held: list[asyncio.StreamWriter] = []
        url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(DependencyTimedOut):
            await mailer(url, seconds=0.2).send(MAIL)
        for writer in held:
            writer.close()


async def test_the_timeout_is_for_the_whole_mail() -> None:
    """Each reply comes in time, and all of them together do not."""

    async def reply_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = b"220 hello"
        while not writer.is_closing():
            asyncio.get_running_loop().call_later(0.1, writer.write, reply + b"\r\n")
            if not (line := await reader.readline()):
                break
            reply = b"354 go on" if line == b"DATA\r\n" else b"250 fine"
        writer.close()

    async with await asyncio.start_server(reply_slowly, "127.0.0.1", 0) as server:
        with pytest.raises(DependencyTimedOut):
            await mailer(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}", seconds=0.25).send(MAIL)


async def test_a_closed_port_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unavailable, match="reached"):
        await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)


async def test_connections_and_waiting_mails_are_limited() -> None:
    server, accepted = MailServer(), MAX_CONNECTIONS + MAX_WAITING
    server.may_go_on.clear()
    async with serving(server):
        one = mailer(server.url)
        sending = [asyncio.create_task(one.send(MAIL)) for _ in range(accepted + 1)]
        for _ in range(MAX_CONNECTIONS):
            await server.at_work.acquire()
        server.may_go_on.set()

        results = await asyncio.gather(*sending, return_exceptions=True)

    assert [str(result) for result in results if result] == ["Too many mails wait for the mail server."]
    assert (server.arrived.qsize(), server.most_at_once) == (accepted, MAX_CONNECTIONS)


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.com\r\nBcc: eve@example.com",
        "ana@example.com\r\nRCPT TO:<eve@example.com>",
        "ana@example.com>\r\nDATA",
        "ana(eve)@example.com",
        "ana@example(eve).com",
        "ana:eve@example.com",
        "añá@example.com",
        "ana@example..com",
        "@example.com",
        "ana@",
    ],
)
async def test_no_mail_is_sent_to_an_ambiguous_address(mailbox: MailServer, address: str) -> None:
    with pytest.raises(DependencyFailed, match="address of that form"):
        await mailer(mailbox.url).send(Mail(address, MAIL.subject, MAIL.text, MAIL.html))

    assert mailbox.arrived.empty()


@pytest.mark.parametrize(
    "email",
    [
        "ana+mambo@example.com",
        "ana.maria_ruiz-2@mail.dance.example.co.uk",
        "o'neil@example.international",
        "1986@4on2.example",
        "ana=mambo@example.com",
        "#!$%&*/^`{|}~@example.com",
        "Ana@Example.COM",
        "  ana@example.com ",
        "ana@bücher.example",
        "ana@例え.テスト",
        "ana@xn--bcher-kva.example",
    ],
)
def test_an_ordinary_address_can_register_and_receive_mail(email: str) -> None:
    assert parse_address(require_email("email", email))


@pytest.mark.parametrize(
    "email",
    [
        "ana",
        "@example.com",
        "ana@",
        "ana@example",
        "ana@@example.com",
        "ana ruiz@example.com",
        "ana(eve)@example.com",
        "ana@example(eve).com",
        "ana:eve@example.com",
        "ana@[192.0.2.1]",
        "ana\\eve@example.com",
        '"ana"@example.com',
        "<ana@example.com>",
        "ana@example.com,eve@example.com",
        ".ana@example.com",
        "ana.@example.com",
        "ana..ruiz@example.com",
        "ana@.example.com",
        "ana@example..com",
        "ana@example.com.",
        "ana@-example.com",
        "ana@example-.com",
        "añá@example.com",
        "ana\x00@example.com",
        "ana@example.com\r\nBcc: eve@example.com",
    ],
)
def test_an_address_that_cannot_receive_mail_cannot_register(email: str) -> None:
    with pytest.raises(Invalid, match="email cannot be used: "):
        require_email("email", email)


@pytest.mark.parametrize(
    "place", ["{}na@example.com", "a{}a@example.com", "an{}@example.com", "ana@{}xample.com", "ana@ex{}mple.com"]
)
def test_every_address_that_can_register_can_receive_mail(place: str) -> None:
    """With each ASCII character in each position."""
    addresses = [place.format(chr(number)) for number in range(128)]

    accepted = [normalize_email(address) for address in addresses if registers(address)]

    assert len(accepted) > 26
    assert [parse_address(address).addr_spec for address in accepted] == accepted


def registers(address: str) -> bool:
    try:
        require_email("email", address)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize(
    ("domain", "ascii_domain"),
    [("bücher.example", "xn--bcher-kva.example"), ("straße.de", "xn--strae-oqa.de"), ("school.local", "school.local")],
)
async def test_a_domain_of_any_script_is_written_to(mailbox: MailServer, domain: str, ascii_domain: str) -> None:
    """By its name in IDNA 2008: in IDNA 2003 `straße.de` is `strasse.de`, which belongs to someone else."""
    await mailer(mailbox.url).send(Mail(f"ana@{domain}", MAIL.subject, MAIL.text, MAIL.html))

    recipients, _ = mailbox.arrived.get_nowait()
    assert recipients == [f"ana@{ascii_domain}"]


async def test_a_line_break_in_a_header_is_refused(mailbox: MailServer) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        await mailer(mailbox.url).send(Mail(MAIL.to, "Hello\r\nBcc: eve@example.com", MAIL.text, MAIL.html))


# Files


async def test_the_file_mailer_writes_private_files(
    app: Litestar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log contains the file's name, and neither the address nor the content."""
    caplog.set_level(logging.INFO)
    folder = tmp_path / "data" / "mail"
    files = FileMailer(folder, SENDER, TurnableClock())

    await asyncio.gather(files.send(MAIL), files.send(MAIL))

    written = sorted(folder.iterdir())
    message = message_from_bytes(written[0].read_bytes(), policy=default)
    assert len(written) == 2
    assert written[0].match("20260302T120000Z-set-a-new-password-*.eml")
    assert (written[0].stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (message["To"], text_of(message)) == ("ana@example.com", MAIL.text)
    assert written[0].read_text().count(LINK) == 2
    logged = str([record.msg for record in caplog.records])
    assert str(written[0]) in logged
    assert "ana@" not in logged
    assert "xxxx" not in logged


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("not a folder")

    with pytest.raises(Unavailable, match="cannot be written"):
        await FileMailer(tmp_path / "mail", SENDER, TurnableClock()).send(MAIL)
