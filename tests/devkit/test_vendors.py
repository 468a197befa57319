"""Stand-ins for R2 and Mux: one set to a data directory, whoever starts them."""

import os
from pathlib import Path

import msgspec

from mambo.devkit.vendors import Running, stand_ins

WEBHOOK = "http://127.0.0.1:9/api/mux/webhook"


def test_a_second_server_on_a_folder_uses_the_first_ones_stand_ins(tmp_path: Path) -> None:
    """And leaves them to it when it ends."""
    with stand_ins(tmp_path, ["R2", "Mux"], webhook_url=WEBHOOK) as first:
        with stand_ins(tmp_path, ["R2", "Mux"], webhook_url=WEBHOOK) as second:
            assert second == first

        assert (tmp_path / "stand-ins.json").exists()
        with stand_ins(tmp_path, ["Mux"], webhook_url=None) as command:
            assert command == {name: value for name, value in first.items() if name.startswith("MUX_")}

    assert not (tmp_path / "stand-ins.json").exists()


def test_what_a_killed_server_left_is_not_trusted(tmp_path: Path) -> None:
    """Not even if another process has its id now."""
    left = Running(os.getpid(), 0.0, {"MUX_API_URL": "http://127.0.0.1:9"})
    (tmp_path / "stand-ins.json").write_bytes(msgspec.json.encode(left))

    with stand_ins(tmp_path, ["Mux"], webhook_url=None) as variables:
        assert variables["MUX_API_URL"] != "http://127.0.0.1:9"
