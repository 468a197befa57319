"""Apply each mutant of `mutants.toml` to a copy of the tree, and check that its tests fail.

    uv run python tests/mutants/run.py [WORD ...]

It prints `killed n of n`, and exits with 1 if a mutant survives. With words, it runs the mutants whose name contains
one of them. Each line ends with the error of the test: if that error has another cause, correct the mutant.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXCLUDED = shutil.ignore_patterns(".git", ".mambo", ".venv", "__pycache__", ".*_cache")
TEST_FAILED = 1  # the exit code of pytest if tests ran and some failed


class Mutant(msgspec.Struct):
    """A naive version of a file: `instead` replaces `stands`, which occurs once, and one of the tests must fail."""

    name: str
    file: str
    stands: str
    instead: str
    tests: list[str]


class Mutants(msgspec.Struct):
    mutant: list[Mutant]


def main(words: list[str]) -> int:
    mutants = msgspec.toml.decode((HERE / "mutants.toml").read_bytes(), type=Mutants).mutant
    chosen = [mutant for mutant in mutants if not words or any(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=EXCLUDED)
        environ = os.environ | {"PYTEST_DEBUG_TEMPROOT": folder}
        environ.pop("VIRTUAL_ENV", None)
        survivors = [mutant.name for mutant in chosen if not is_killed(mutant, tree, environ)]
    print(f"killed {len(chosen) - len(survivors)} of {len(chosen)}")  # noqa: T201 - a command
    return 1 if survivors else 0


def is_killed(mutant: Mutant, tree: Path, environ: dict[str, str]) -> bool:
    file = tree / mutant.file
    original = file.read_text()
    if original.count(mutant.stands) != 1:
        sys.exit(f"{mutant.name}: `stands` occurs {original.count(mutant.stands)} times in {mutant.file}, not once.")
    file.write_text(original.replace(mutant.stands, mutant.instead))
    command = ["uv", "run", "--locked", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
    finished = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)
    file.write_text(original)
    killed = finished.returncode == TEST_FAILED
    error = next((line[1:].strip() for line in finished.stdout.splitlines() if line.startswith("E  ")), "")
    print(f"{'killed  ' if killed else 'SURVIVED'} {mutant.name}   {error[:80]}", flush=True)  # noqa: T201 - a command
    if not killed and finished.returncode != 0:
        print(finished.stdout[-2000:], finished.stderr[-2000:])  # noqa: T201 - a command
    return killed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
