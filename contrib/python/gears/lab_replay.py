"""What kernels say while no browser listens: kept within a bound, and replayed whole.

Loaded by lab.py; knows the websocket classes of jupyter_server 1 and 2.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

Message = tuple[str, list[bytes]]  # the channel and the parts as they came
DELIMITER = b"<IDS|MSG>"
FOR_ANYBODY = {
    *("stream", "display_data", "update_display_data", "execute_result", "error", "status"),
    *("execute_input", "clear_output", "execute_reply"),
}


def message_type(parts: list[bytes]) -> str:
    try:
        return str(json.loads(parts[parts.index(DELIMITER) + 2])["msg_type"])
    except (IndexError, KeyError, TypeError, ValueError):
        return ""


def is_stream(message: Message) -> bool:
    """Whether a message is printed text, the one thing that may go missing first."""
    return message[0] == "iopub" and message_type(message[1]) == "stream"


def is_for_anybody(message: Message) -> bool:
    """Whether a message means something to another page than the one that caused it."""
    return message_type(message[1]) in FOR_ANYBODY


def memory_of(message: Message) -> int:
    return sum(sys.getsizeof(part) for part in message[1]) + 500


class BoundedBuffer:
    """Messages of one kernel in order, of which the oldest printed text is dropped first."""

    def __init__(self, max_bytes: int, on_drop: Callable[[], None]) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.dropped = 0
        self._on_drop = on_drop
        self._next = 0
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._streams: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages.values())

    def append(self, message: Message) -> None:
        number = self._next
        self._next += 1
        self._messages[number] = message
        self.bytes += memory_of(message)
        if is_stream(message):
            self._streams.append(number)
        while self.bytes > self.max_bytes:
            self._drop()

    def keep(self, wanted: Callable[[Message], bool]) -> None:
        """Forget the messages that are not wanted."""
        for number, message in list(self._messages.items()):
            if not wanted(message):
                self._remove(number)

    def _remove(self, number: int) -> None:
        self.bytes -= memory_of(self._messages.pop(number))

    def _drop(self) -> None:
        while self._streams and self._streams[0] not in self._messages:
            self._streams.popleft()
        self._remove(self._streams.popleft() if self._streams else next(iter(self._messages)))
        self.dropped += 1
        if self.dropped == 1:
            self._on_drop()


class KeptChannels(dict[str, Any]):
    """The sockets of a page that went away, for the one that goes on with them."""


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def resume_without_nudge(websocket: Any) -> None:
    """Kept sockets are connected; to wait for a first message of theirs would swallow it."""
    nudge = websocket.nudge

    def nudge_fresh_sockets(self: Any) -> Any:
        if not isinstance(self.channels, KeptChannels):
            return nudge(self)
        self._gears_resumed = now()
        connected = asyncio.get_running_loop().create_future()
        connected.set_result(None)
        return connected

    websocket.nudge = nudge_fresh_sockets


def replay_without_limit(websocket: Any) -> None:
    """What was said before a page resumed comes all at once: limits of rate would drop it."""
    limit_rate = websocket._limit_rate

    def limit_live_rate(self: Any, channel: str, msg: Any, parts: list[bytes]) -> Any:
        resumed = getattr(self, "_gears_resumed", "")
        if resumed and channel == "iopub":
            date = self.get_part("header", msg["header"], parts).get("date")
            if date and str(date).replace(" ", "T") < resumed:
                return False
            self._gears_resumed = ""
        return limit_rate(self, channel, msg, parts)

    websocket._limit_rate = limit_live_rate


def keep_what_comes_late(websocket: Any, method: str, manager: str) -> None:
    """A page may close before its sockets are subscribed, or while a message is on its way."""
    deliver = getattr(websocket, method)

    def deliver_or_keep(self: Any, stream: Any, parts: list[bytes]) -> None:
        connection = getattr(self, "websocket_handler", self).ws_connection
        if connection is None or connection.is_closing():
            channel = stream if isinstance(stream, str) else stream.channel
            getattr(self, manager).keep_late(self.kernel_id, (channel, parts))
        else:
            deliver(self, stream, parts)

    setattr(websocket, method, deliver_or_keep)


def install() -> None:
    try:
        from jupyter_server.services.kernels.connection.channels import (
            ZMQChannelsWebsocketConnection as Websocket,
        )

        keep_what_comes_late(Websocket, "handle_outgoing_message", "multi_kernel_manager")
    except ImportError:  # jupyter_server 1.x
        from jupyter_server.services.kernels.handlers import ZMQChannelsHandler as Websocket

        keep_what_comes_late(Websocket, "_on_zmq_reply", "kernel_manager")
    resume_without_nudge(Websocket)
    replay_without_limit(Websocket)
