"""How mail leaves: over SMTP, or into a folder where no mail server is configured."""

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
GOODBYE_SECONDS = 1.0
AT_ONCE, MOST_WAITING = 4, 100
PERMANENT = 500  # SMTP's replies from here on will be the same next time


class Mail(Struct, frozen=True):
    """One mail to one person, the same said twice: as plain text and as HTML."""

    to: str
    subject: str
    text: str
    html: str


class Mailer(Protocol):
    """Hands mail over.

    A call may raise Unavailable, DependencyFailed or DependencyTimedOut; no message holds an address or what was
    written.
    """

    async def send(self, mail: Mail) -> None: ...


class SmtpMailer:
    """Hands mail to an SMTP server, each within so many seconds, a few at a time; a certificate has to be good."""

    def __init__(self, server: SmtpServer, sender: str, clock: Clock, *, seconds: float = SECONDS) -> None:
        self.server, self.sender, self.clock, self.seconds = server, sender, clock, seconds
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def send(self, mail: Mail) -> None:
        message = as_message(mail, self.sender, self.clock)
        if self._waiting >= MOST_WAITING:
            raise Unavailable("Too many mails wait for the mail server.", code="busy")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            await self._hand_over(message)
        except (SMTPException, OSError) as error:
            raise as_mambo_error(error) from error
        finally:
            self._places.release()

    async def _hand_over(self, message: EmailMessage) -> None:
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
            with suppress(SMTPException):  # it has the mail, whatever it says now
                await client.quit(timeout=GOODBYE_SECONDS)
        finally:
            client.close()


class FileMailer:
    """Writes each mail as a file into a folder, for its owner's eyes only; the log names it."""

    def __init__(self, folder: Path, sender: str, clock: Clock) -> None:
        self.folder, self.sender, self.clock = folder, sender, clock

    async def send(self, mail: Mail) -> None:
        message = as_message(mail, self.sender, self.clock)
        # Not whom it is to: the log names the file, and no address is logged.
        subject = re.sub(r"[^a-z0-9]+", "-", mail.subject.lower()).strip("-")
        file = self.folder / f"{self.clock():%Y%m%dT%H%M%SZ}-{subject}-{secrets.token_hex(4)}.eml"
        try:
            await asyncio.to_thread(self._write, file, message.as_bytes())
        except OSError as error:
            raise Unavailable(f"The folder {self.folder} cannot be written ({error.strerror}).") from error
        log.info("mail written", file=str(file))

    def _write(self, file: Path, content: bytes) -> None:
        """Whole or not at all, for whoever watches the folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as private:
            private.write(content)
        part.rename(file)


def as_message(mail: Mail, sender: str, clock: Clock) -> EmailMessage:
    """The mail as RFC 5322 has it; a line break in a header is refused by `EmailMessage`.

    Raises:
        DependencyFailed: no mail can go to an address of that form.

    """
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["To"] = as_address(mail.to)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(clock())
    message["Message-ID"] = make_msgid(domain=message["From"].addresses[0].domain)
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's holiday answers
    # As it stands, so that a link is whole in the file too: lines may have 998 characters.
    message.set_content(mail.text, cte="8bit")
    message.add_alternative(mail.html, subtype="html", cte="8bit")
    return message


def as_address(email: str) -> Address:
    """Return the address with its domain in ASCII, by IDNA 2008: `straße.de` is not `strasse.de`."""
    local, _, domain = email.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
        address = Address(addr_spec=f"{local}@{ascii_domain}")
    except Exception as error:  # the parser raises whatever it stumbles over
        raise DependencyFailed("No mail can go to an address of that form.") from error
    # What reads as an address with a comment in it would go to someone else.
    if address.addr_spec != f"{local}@{ascii_domain}":
        raise DependencyFailed("No mail can go to an address of that form.")
    return address


def as_mambo_error(error: SMTPException | OSError) -> MamboError:
    """Say what went wrong; a server's own words may hold the address, so of them only the code is told."""
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
        case _:  # it lacks what SMTP_URL asks for: STARTTLS, or signing in
            return DependencyFailed(f"The mail server cannot be used: {error.message}")
