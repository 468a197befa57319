"""The documentation is true: its links lead somewhere, and its lists are those of the code."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import mambo
from mambo.cli import main
from mambo.limits.rules import RULES
from mambo.settings.model import variables

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
LINK = re.compile(r"\[[^]]+\]\(([^)#]+)(?:#([^)]+))?\)")
TESTS = re.compile(r"`(tests/[\w/.]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = [target for target, _ in LINK.findall(page.read_text()) if not target.startswith("http")]

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_test_exists(page: Path) -> None:
    assert [name for name in TESTS.findall(page.read_text()) if not (ROOT / name).exists()] == []


def test_every_setting_is_documented() -> None:
    names = [*variables(), *(rule.setting for rule in RULES)]

    assert [name for name in names if f"`{name}`" not in OPERATIONS] == []


def test_every_documented_rate_limit_has_its_default() -> None:
    documented = dict(re.findall(r"\| `(LIMIT_\w+)` \| (\S+) \|", OPERATIONS))

    assert documented == {rule.setting: str(rule.default) for rule in RULES if rule.setting in documented}


def test_every_command_is_documented() -> None:
    runner = CliRunner()
    for name, command in main.commands.items():
        assert f"`mambo {name}" in OPERATIONS, name
        for subcommand in getattr(command, "commands", {}):
            assert re.search(rf"`mambo {name} [^`]*\b{subcommand}\b", OPERATIONS), (name, subcommand)
            assert runner.invoke(main, [name, subcommand, "--help"]).exit_code == 0


def test_the_map_of_packages_is_the_tree() -> None:
    """The package's docstring and the architecture page name every package, and no other."""
    folder = Path(mambo.__file__).parent
    packages = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The way of a request")[0]
    rows = {
        name
        for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }

    assert packages == rows - {"models", "schemas", "repository", "service", "rules", "controller"}
    assert set(re.findall(r"^  (\w+) ", mambo.__doc__ or "", re.MULTILINE)) == packages
