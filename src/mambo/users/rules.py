"""Rules about people as pure functions: their e-mail address, and the name that others see."""

import unicodedata

from email_validator import EmailNotValidError, validate_email

from mambo.errors import Invalid


def normalize_email(text: str) -> str:
    """Return the form in which an address is stored, compared and counted; never refuses a text.

    Trimmed, lower case, Unicode NFC; the domain as IDNA 2008 has it, in Unicode. What is no address, as accounts
    of an older service may have, is only trimmed, lower-cased and NFC.
    """
    text = text.strip()
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return unicodedata.normalize("NFC", text.lower())
    return unicodedata.normalize("NFC", address.local_part.lower()) + f"@{address.domain}"


def require_email(field: str, text: str) -> str:
    """Return the normalized address.

    Raises:
        Invalid: no mail can be sent to the address from the internet; ASCII is required before the @.

    """
    try:
        validate_email(text.strip(), allow_smtputf8=False, check_deliverability=False)
    except EmailNotValidError as error:
        raise Invalid.field(field, f"cannot be used: {str(error).rstrip('.')}", "wrong_format") from None
    return normalize_email(text)


def public_name(first_name: str, last_name: str) -> str:
    """Return the name that other people see: first name and last initial, as in "Ana R."."""
    return f"{first_name} {last_name[:1]}."
