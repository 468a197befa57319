"""Stand-ins for R2 and Mux: at most one set per data directory."""

import os
from pathlib import Path

import msgspec

from mambo.devkit.vendors import Running, stand_ins

WEBHOOK = "http://127.0.0.1:9/api/mux/webhook"


def test_a_second_server_with_the_folder_uses_the_stand_ins_of_the_first(tmp_path: Path) -> None:
    """They go on running when the second server ends."""
    with stand_ins(tmp_path, ["R2", "Mux"], webhook_url=WEBHOOK) as first:
        with stand_ins(tmp_path, ["R2", "Mux"], webhook_url=WEBHOOK) as second:
            assert second == first

        assert (tmp_path / "stand-ins.json").exists()
        with stand_ins(tmp_path, ["Mux"], webhook_url=None) as command:
            assert command == {name: value for name, value in first.items() if name.startswith("MUX_")}

    assert not (tmp_path / "stand-ins.json").exists()


def test_the_file_of_a_killed_server_is_ignored(tmp_path: Path) -> None:
    """Even if another process has its id now."""
    stale = Running(os.getpid(), 0.0, {"MUX_API_URL": "http://127.0.0.1:9"})
    (tmp_path / "stand-ins.json").write_bytes(msgspec.json.encode(stale))

    with stand_ins(tmp_path, ["Mux"], webhook_url=None) as variables:
        assert variables["MUX_API_URL"] != "http://127.0.0.1:9"
