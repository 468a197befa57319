"""Rules about people."""

import pytest

from mambo.users.rules import public_name


@pytest.mark.parametrize(
    ("first_name", "last_name", "name"), [("Ana", "Ruiz", "Ana R."), ("Ana María", "Núñez", "Ana María N.")]
)
def test_a_public_name_is_the_first_name_and_the_last_initial(first_name: str, last_name: str, name: str) -> None:
    assert public_name(first_name, last_name) == name
