"""Frames of the internal protocol, as common/link.c has them, with the numbers of its header."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2]
BIN = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
HEADER = (SOURCE / "common/link_messages.h").read_text()
NUMBERS = {name: int(value) for name, value in re.findall(r"\bLINK_(\w+)\s*=\s*(\d+)", HEADER)}
Fields = dict[str, Any]


def _names(enum: str, prefix: str) -> dict[int, str]:
    """The constants of an enum by their values, without what all begin with."""
    found = re.search(rf"^enum {enum} \{{(.*?)^\}};", HEADER, re.M | re.S)
    assert found, enum
    constants = re.findall(rf"\bLINK_{prefix}(\w+)\s*=\s*(\d+)", found[1])
    return {int(value): name for name, value in constants}


MESSAGES = _names("link_type", "")
TAGS = _names("link_tag", "TAG_")
# Fields that are no text but a number.
WHOLE = {"TYPE", "ERRNO", "PID", "DRAINING", "SLOT", "PORT", "FEEDS", "SINCE", "EXIT_CODE"}
WHOLE |= {"TUNNEL_STATE", "CAUSE", "HUMAN", "AUTHENTICATED_AT", "RTT_US", "PROMPT_ECHO"}
# Of a prompt's questions, one each.
REPEATED = {"PROMPT_TEXT", "PROMPT_ECHO"}
# Those that have names of their own.
NAMED = {
    "TUNNEL_STATE": _names("link_tunnel_state", "TUNNEL_"),
    "CAUSE": _names("link_tunnel_cause", "CAUSE_"),
}
# In the memory that relays and tunnels share, 64 bits each.
COUNTERS = ("connections", "accepted", "bytes_in", "bytes_out", "refused", "failed", "last_used_us")


def frame(kind: str, request: int = 0, fields: Fields | None = None) -> bytes:
    """A list gives a field for each of its values; None gives none."""
    out = struct.pack("<cBHI", b"G", 1, NUMBERS[kind], request)
    for tag, value in (fields or {}).items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                raw = one.encode() if isinstance(one, str) else struct.pack("<Q", one)
                out += struct.pack("<HHI", NUMBERS[f"TAG_{tag}"], 0, len(raw)) + raw
    return out


def parse(data: bytes) -> tuple[str, int, Fields]:
    """Message, request and fields; what may repeat is a list."""
    kind, request = struct.unpack_from("<HI", data, 2)
    fields: Fields = {}
    at = 8
    while at < len(data):
        tag, _, size = struct.unpack_from("<HHI", data, at)
        raw = data[at + 8 : at + 8 + size]
        name = TAGS[tag]
        value = struct.unpack("<Q", raw)[0] if name in WHOLE else raw.decode()
        value = NAMED[name][value] if name in NAMED else value
        if name in REPEATED:
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
        at += 8 + size
    return MESSAGES.get(kind, str(kind)), request, fields


def counters(memory: bytes, slot: int = 0) -> dict[str, int]:
    """Those of a relay's slot, or a tunnel's only ones."""
    return dict(zip(COUNTERS, struct.unpack_from("<7Q", memory, slot * 64)))
