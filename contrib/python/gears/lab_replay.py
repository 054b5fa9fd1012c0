"""What kernels say while no browser listens: kept within a bound, and replayed whole.

Loaded by lab.py; knows the websocket classes of jupyter_server 1 and 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

Message = tuple[str, list[bytes]]  # the channel and the parts as they came
DELIMITER = b"<IDS|MSG>"
TAIL_BYTES = 8 * 1024 * 1024
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


class Tail:
    """What was sent to a page and not yet confirmed: a sleeping laptop takes it all, reads none.

    A ping follows whatever is sent, one at a time; its pong says that all before it arrived.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.messages: deque[Message] = deque()
        self._first = 0
        self._asked = 0  # the messages before this number; 0: nothing is asked

    def append(self, message: Message) -> None:
        self.messages.append(message)
        self.bytes += memory_of(message)
        while self.bytes > self.max_bytes:
            self._forget()

    def _forget(self) -> None:
        self.bytes -= memory_of(self.messages.popleft())
        self._first += 1

    def question(self) -> bytes | None:
        """The words of the next ping, if one is due."""
        if self._asked or not self.messages:
            return None
        self._asked = self._first + len(self.messages)
        return b"gears %d" % self._asked

    def answer(self, words: bytes) -> None:
        if self._asked and words == b"gears %d" % self._asked:
            while self.messages and self._first < self._asked:
                self._forget()
            self._asked = 0


def handler_of(connection: Any) -> Any:
    """The tornado handler: another object in jupyter_server 2, the same in 1."""
    return getattr(connection, "websocket_handler", connection)


def tail_of(connection: Any) -> Tail:
    if not hasattr(connection, "_gears_tail"):
        connection._gears_tail = Tail(TAIL_BYTES)
    return connection._gears_tail


def ask(connection: Any) -> None:
    words = tail_of(connection).question()
    if words is not None:
        with contextlib.suppress(Exception):  # it is closing
            handler_of(connection).ping(words)


def keep_what_does_not_arrive(websocket: Any, deliver_name: str, manager_name: str) -> None:
    """A page may close with messages on their way, or before its sockets are subscribed."""
    deliver = getattr(websocket, deliver_name)

    def deliver_or_keep(self: Any, stream: Any, parts: list[bytes]) -> None:
        connection = handler_of(self).ws_connection
        message = (stream if isinstance(stream, str) else stream.channel, parts)
        if connection is None or connection.is_closing():
            getattr(self, manager_name).keep_late(self.kernel_id, message)
            return
        tail_of(self).append(message)
        deliver(self, stream, parts)
        ask(self)

    setattr(websocket, deliver_name, deliver_or_keep)


def confirm_by_pongs(handler: Any) -> None:
    on_pong = handler.on_pong

    def confirm(self: Any, data: bytes) -> None:
        on_pong(self, data)
        connection = getattr(self, "connection", None) or self
        if hasattr(connection, "_gears_tail"):
            connection._gears_tail.answer(data)
            ask(connection)

    handler.on_pong = confirm


def keep_the_tail(websocket: Any, close_name: str, manager_name: str) -> None:
    """A page that said goodbye has read everything; for another, what is unconfirmed is kept."""
    close = getattr(websocket, close_name)

    def close_once(self: Any) -> None:
        if getattr(self, "_gears_closed", False):
            return
        self._gears_closed = True
        manager = getattr(self, manager_name)
        if handler_of(self).close_code is None:
            manager.keep_before(self.kernel_id, tail_of(self).messages)
        close(self)
        manager.forget_late(self.kernel_id)

    setattr(websocket, close_name, close_once)


def replace_at_once(websocket: Any) -> None:
    """A page that comes back before its old connection is found dead goes on where that was."""
    register = websocket._register_session

    async def register_session(self: Any) -> None:
        stale = self._open_sessions.get(f"{self.kernel_id}:{self.session.session}")
        if stale is not None and getattr(stale, "connection", None) is not None:
            stale.connection.disconnect()
            stale.close()
        await register(self)

    websocket._register_session = register_session


def install() -> None:
    try:
        from jupyter_server.services.kernels.connection.channels import (
            ZMQChannelsWebsocketConnection as Websocket,
        )
        from jupyter_server.services.kernels.websocket import KernelWebsocketHandler as Handler

        manager = "multi_kernel_manager"
        keep_what_does_not_arrive(Websocket, "handle_outgoing_message", manager)
        keep_the_tail(Websocket, "disconnect", manager)
        replace_at_once(Websocket)
    except ImportError:  # jupyter_server 1.x
        from jupyter_server.services.kernels.handlers import ZMQChannelsHandler as Websocket

        Handler = Websocket
        keep_what_does_not_arrive(Websocket, "_on_zmq_reply", "kernel_manager")
        keep_the_tail(Websocket, "on_close", "kernel_manager")
    confirm_by_pongs(Handler)
    resume_without_nudge(Websocket)
    replay_without_limit(Websocket)
