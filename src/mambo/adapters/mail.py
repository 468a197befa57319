"""E-mail: sent over SMTP, or written to a folder where no SMTP server is configured."""

import asyncio
import os
import re
import secrets
import ssl
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Protocol

import aiosmtplib
import idna
import structlog
from aiosmtplib import SMTPAuthenticationError, SMTPException, SMTPRecipientsRefused, SMTPResponseException
from msgspec import Struct

from mambo.clock import Clock
from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable
from mambo.settings.smtp import SmtpServer

log = structlog.get_logger(__name__)

SECONDS = 10.0
QUIT_SECONDS = 1.0
MAX_CONNECTIONS, MAX_WAITING = 4, 100
PERMANENT = 500  # SMTP replies from 500 on are permanent failures


class Mail(Struct, frozen=True):
    """An e-mail to one person, as plain text and as HTML."""

    to: str
    subject: str
    text: str
    html: str


class Mailer(Protocol):
    """Sends e-mail.

    A call may raise Unavailable, DependencyFailed or DependencyTimedOut, with a sentence that contains neither an
    address nor a part of the mail.
    """

    async def send(self, mail: Mail) -> None: ...


class SmtpMailer:
    """Sends e-mail to an SMTP server, whose certificate must be valid. Each mail takes at most `seconds`."""

    def __init__(self, server: SmtpServer, sender: str, clock: Clock, *, seconds: float = SECONDS) -> None:
        self.server, self.sender, self.clock, self.seconds = server, sender, clock, seconds
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._waiting = 0

    async def send(self, mail: Mail) -> None:
        message = build_message(mail, self.sender, self.clock)
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many mails wait for the mail server.", code="busy")
        self._waiting += 1
        try:
            await self._connections.acquire()
        finally:
            self._waiting -= 1
        try:
            await self._send(message)
        except (SMTPException, OSError) as error:
            raise to_mambo_error(error) from error
        finally:
            self._connections.release()

    async def _send(self, message: EmailMessage) -> None:
        server = self.server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.is_tls_from_start,
            start_tls=server.starttls,
            local_hostname=message["From"].addresses[0].domain,
            timeout=self.seconds,
        )
        try:
            async with asyncio.timeout(self.seconds):
                await client.connect()
                await client.send_message(message)
            with suppress(SMTPException):  # the server has accepted the mail already
                await client.quit(timeout=QUIT_SECONDS)
        finally:
            client.close()


class FileMailer:
    """Writes each e-mail to a file that only its owner can read, and logs the file's name."""

    def __init__(self, folder: Path, sender: str, clock: Clock) -> None:
        self.folder, self.sender, self.clock = folder, sender, clock

    async def send(self, mail: Mail) -> None:
        message = build_message(mail, self.sender, self.clock)
        # The name does not contain the recipient, because it is logged.
        subject = re.sub(r"[^a-z0-9]+", "-", mail.subject.lower()).strip("-")
        file = self.folder / f"{self.clock():%Y%m%dT%H%M%SZ}-{subject}-{secrets.token_hex(4)}.eml"
        try:
            await asyncio.to_thread(self._write, file, message.as_bytes())
        except OSError as error:
            raise Unavailable(f"The folder {self.folder} cannot be written ({error.strerror}).") from error
        log.info("mail written", file=str(file))

    def _write(self, file: Path, content: bytes) -> None:
        """Write the file atomically, because someone may watch the folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as private:
            private.write(content)
        part.rename(file)


def build_message(mail: Mail, sender: str, clock: Clock) -> EmailMessage:
    """Return the mail as an RFC 5322 message.

    Raises:
        DependencyFailed: the address has a form to which no mail can be sent.
        ValueError: the subject contains a line break.

    """
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["To"] = parse_address(mail.to)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(clock())
    message["Message-ID"] = make_msgid(domain=message["From"].addresses[0].domain)
    message["Auto-Submitted"] = "auto-generated"  # so that out-of-office software does not reply
    # 8bit keeps a link on one line, also in a file; lines may have up to 998 characters.
    message.set_content(mail.text, cte="8bit")
    message.add_alternative(mail.html, subtype="html", cte="8bit")
    return message


def parse_address(email: str) -> Address:
    """Return the address with its domain in ASCII, by IDNA 2008: `straße.de` is not `strasse.de`.

    Raises:
        DependencyFailed: the address has a form to which no mail can be sent.

    """
    local, _, domain = email.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
        address = Address(addr_spec=f"{local}@{ascii_domain}")
    except Exception as error:  # the parser raises errors of any type
        raise DependencyFailed("No mail can go to an address of that form.") from error
    # An address with a comment in it would be parsed as another address.
    if address.addr_spec != f"{local}@{ascii_domain}":
        raise DependencyFailed("No mail can go to an address of that form.")
    return address


def to_mambo_error(error: SMTPException | OSError) -> MamboError:
    """Return the error of a failed mail, with only the code of the server's reply, because the rest may be private."""
    match error:
        case TimeoutError():
            return DependencyTimedOut("The mail server did not take the mail in time.")
        case SMTPAuthenticationError(code=code):
            return DependencyFailed(f"The mail server refused the user or password of SMTP_URL ({code}).")
        case (
            SMTPRecipientsRefused(recipients=[SMTPResponseException(code=code), *_]) | SMTPResponseException(code=code)
        ):
            kind = DependencyFailed if code >= PERMANENT else Unavailable
            return kind(f"The mail server refused the mail or its recipient ({code}).")
        case _ if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            return DependencyFailed("The mail server's certificate is not trusted, or TLS with it fails.")
        case OSError():
            return Unavailable("The mail server cannot be reached, or hung up.")
        case _:  # the server lacks what SMTP_URL needs: STARTTLS, or authentication
            return DependencyFailed(f"The mail server cannot be used: {error.message}")
