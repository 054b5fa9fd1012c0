"""delay_relay.py MS ADDRESS HOST PORT: relays TCP and holds every byte back for MS, each way.

Listens at a free port of ADDRESS, prints it, and ends with its standard input. What is on the way
is bounded, so that a reader that stalls is felt by the writer.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

ON_THE_WAY = 64 << 20


class Way(asyncio.Protocol):
    """What comes in at one socket and goes out, later, at the other's."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: Way | None = None
        self.transport: asyncio.Transport | None = None
        self.held: deque[tuple[float, bytes | None]] = deque()  # None: the end
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None
        self.blocked = False  # the other side's reader stalls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(1 << 20)

    def data_received(self, data: bytes) -> None:
        self.hold(data)
        self.size += len(data)
        if self.size > ON_THE_WAY and self.transport:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.hold(None)
        return True  # the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        del error
        loop = asyncio.get_running_loop()
        other = self.other
        if other and other.transport and not other.transport.is_closing():
            loop.call_later(self.delay, other.close_when_sent)

    def close_when_sent(self) -> None:
        """Its own peer is gone as far as this one can know: say so after what was sent."""
        if self.transport:
            self.transport.close()

    def hold(self, data: bytes | None) -> None:
        self.held.append((asyncio.get_running_loop().time() + self.delay, data))
        self.plan()

    def plan(self) -> None:
        if self.held and not self.timer and not self.blocked:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_at(self.held[0][0], self.release)

    def release(self) -> None:
        self.timer = None
        target = self.other.transport if self.other else None
        now = asyncio.get_running_loop().time()
        while target and self.held and self.held[0][0] <= now and not self.blocked:
            _, data = self.held.popleft()
            if data is None:
                if not target.is_closing():
                    target.write_eof()
                continue
            self.size -= len(data)
            target.write(data)
        if self.transport and self.size <= ON_THE_WAY and not self.transport.is_closing():
            self.transport.resume_reading()
        self.plan()

    # The other way's bytes leave here; when they cannot, it waits.
    def pause_writing(self) -> None:
        if self.other:
            self.other.blocked = True

    def resume_writing(self) -> None:
        if self.other:
            self.other.blocked = False
            self.other.plan()


async def main(delay: float, address: str, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    waits: set[asyncio.Task[None]] = set()

    def accept() -> Way:
        near, far = Way(delay), Way(delay)
        near.other, far.other = far, near

        async def reach() -> None:
            try:
                await loop.create_connection(lambda: far, host, port)
                near.plan()
            except OSError:
                if near.transport:
                    near.transport.abort()

        task = loop.create_task(reach())
        waits.add(task)
        task.add_done_callback(waits.discard)
        return near

    server = await loop.create_server(accept, address, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) / 1000, sys.argv[2], sys.argv[3], int(sys.argv[4])))
