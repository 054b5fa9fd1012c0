"""Bytes arrive whole, in order, at the right end; ends and aborts pass as they are."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from processes import wait_until
from relay_ends import Pattern, Task, abort, read_pattern, send_pattern
from tunnel_link import Tunnel

MB = 1 << 20


@pytest.mark.parametrize("tcp", [False, True])
def test_64_mb_each_way_at_once(tunnel: Tunnel, target, tcp: bool) -> None:
    client = tunnel.connect(target.path, tcp)
    server = target.accept()
    up, down = Pattern("up"), Pattern("down")
    with client, server:
        tasks = [
            Task(lambda: send_pattern(client, up, 64 * MB)),
            Task(lambda: send_pattern(server, down, 64 * MB)),
            Task(lambda: read_pattern(client, down, 64 * MB)),
            Task(lambda: read_pattern(server, up, 64 * MB)),
        ]
        assert [task.result() for task in tasks] == [64 * MB] * 4
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connection")
    counters = tunnel.counters()
    assert (counters["bytes_in"], counters["bytes_out"]) == (64 * MB, 64 * MB)
    assert (counters["accepted"], counters["failed"]) == (1, 0)
