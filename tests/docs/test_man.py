"""The man pages tell of every command, option, key, method and error, and of no other."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
MAN = SOURCE / "contrib/man"
BIN = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
PAGES = sorted(MAN.glob("man*/*"))


def help_of(*words: str) -> str:
    return subprocess.run(
        [BIN / "gearsctl", *words, "--help"], capture_output=True, text=True, check=True
    ).stdout


def items(page: str) -> list[str]:
    """The heads of the lists, as they stand in the source."""
    return re.findall(r"^\.It (.*)$", (MAN / page).read_text(), re.MULTILINE)


def listed(page: str) -> set[str]:
    """The words that the lists explain: "Cm a , b" gives a and b."""
    return {
        word for item in items(page) if item.startswith("Cm ") for word in item[3:].split(" , ")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_sound(page: Path) -> None:
    lint = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True
    )
    assert lint.stdout == "" and lint.returncode == 0


def test_gearsctl_has_every_command_and_option() -> None:
    commands = set(re.findall(r"^  ([a-z][a-z-]*) ", help_of(), re.MULTILINE))
    heads: dict[str, str] = {}
    for item in items("man1/gearsctl.1"):
        match = re.match(r"Cm ([a-z-]+)", item)
        if match:
            heads[match[1]] = item
    assert set(heads) == commands
    for command in commands:
        usage = help_of(command).splitlines()[0]
        told = {"-" + flag.lstrip("-") for flag in re.findall(r"Fl (-?\S+)", heads[command])}
        meant = {
            "-" + flag.lstrip("-") for flag in re.findall(r"(?<=[\[ ])-+[a-z-]+|--(?= )", usage)
        }
        assert told == meant - {"-json"}, f"{command}: {usage}"


def test_gears_conf_has_every_key() -> None:
    files = ("daemon/core/config_tables.c", "common/limits.c")
    tables = "".join((SOURCE / file).read_text() for file in files)
    own = re.search(r"own_keys\[\] = \{(.*?)\}", (SOURCE / "daemon/core/config_keys.c").read_text())
    assert own
    keys = set(re.findall(r'\{"([a-z_]+)", (?:VALUE|RLIMIT)_', tables))
    keys |= set(re.findall(r'"([a-z_]+)"', own[1]))
    assert len(keys) > 45
    assert listed("man5/gears.conf.5") == keys


def test_the_protocol_page_has_every_method_and_error() -> None:
    interface = (SOURCE / "proto/org.gears.Manager.varlink").read_text()
    names = set(re.findall(r"^(?:method|error) (\w+)", interface, re.MULTILINE))
    assert listed("man7/gears-protocol.7") == names


def test_bounds_are_those_of_the_code() -> None:
    header = (SOURCE / "proto/varlink_service.h").read_text()
    control = (SOURCE / "daemon/control/control_private.h").read_text()
    page = (MAN / "man7/gears-protocol.7").read_text()
    assert "VARLINK_MESSAGE_LIMIT = 1 << 20" in header and "less than 1 MiB" in page
    assert "VARLINK_MESSAGE_MS = 10000" in header and "complete 10 s" in page
    assert "VARLINK_DEPTH_LIMIT = 32" in header and "at most 32 deep" in page
    assert "VARLINK_QUEUE_LIMIT = 4 << 20" in header and "4 MiB" in page
    match = re.search(r"CONNECTIONS_LIMIT = (\d+)", control)
    assert match and f"{match[1]} connections" in page
