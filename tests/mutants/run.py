"""Plants each naive version of `mutants.toml` in a copy of the tree, and sees that the tests named there turn red.

    uv run python tests/mutants/run.py [WORD ...]

It prints `killed n of n`, and fails when one survives; with words, only mutants whose name holds one are tried. Beside
each stands what the test said: where that is no answer to the naive version, the mutant is to be mended.
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
LEFT_OUT = shutil.ignore_patterns(".git", ".mambo", ".venv", "__pycache__", ".*_cache")
TEST_FAILED = 1  # pytest's exit code; any other says that no test was run


class Mutant(msgspec.Struct):
    """A naive version: what to write in place of what stands in a file once, and the tests that must notice."""

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
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        environ = os.environ | {"PYTEST_DEBUG_TEMPROOT": folder}
        environ.pop("VIRTUAL_ENV", None)
        survivors = [mutant.name for mutant in chosen if not is_killed(mutant, tree, environ)]
    print(f"killed {len(chosen) - len(survivors)} of {len(chosen)}")  # noqa: T201 - a command
    return 1 if survivors else 0


def is_killed(mutant: Mutant, tree: Path, environ: dict[str, str]) -> bool:
    file = tree / mutant.file
    original = file.read_text()
    if original.count(mutant.stands) != 1:
        sys.exit(f"{mutant.name}: what it replaces stands {original.count(mutant.stands)} times in {mutant.file}.")
    file.write_text(original.replace(mutant.stands, mutant.instead))
    command = ["uv", "run", "--locked", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
    end = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)
    file.write_text(original)
    is_red = end.returncode == TEST_FAILED
    said = next((line[1:].strip() for line in end.stdout.splitlines() if line.startswith("E  ")), "")
    print(f"{'killed  ' if is_red else 'SURVIVED'} {mutant.name}   {said[:80]}", flush=True)  # noqa: T201 - a command
    if not is_red and end.returncode != 0:
        print(end.stdout[-2000:], end.stderr[-2000:])  # noqa: T201 - a command
    return is_red


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
