"""The lab's kernel and session managers, loaded by lab.py.

They keep what kernels say while no browser listens, give each kernel a short private socket
path, and keep kernels.txt, from which a keeper learns which kernels died with the server.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from _gears_lab_replay import BoundedBuffer, KeptChannels, is_for_anybody
from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.services.sessions.sessionmanager import SessionManager

try:
    from jupyter_server.services.kernels.kernelmanager import ServerKernelManager as KernelBase
except ImportError:  # jupyter_server 1.x
    from jupyter_client.ioloop import AsyncIOLoopKernelManager as KernelBase

# For one kernel nobody listens to. Their sum is bounded by the number of kernels.
BUFFER_BYTES = 16 * 1024 * 1024
KERNELS_TXT_BYTES = 4096
# sun_path holds 107 bytes and a NUL; "/kernel-<uuid>-ipc-12" follows the folder.
LONGEST_FOLDER = 107 - len("/kernel-") - 36 - len("-ipc-12")


def has_encryption() -> bool:
    """Whether this jupyter_server can encrypt what goes between it and its kernels."""
    return "transport_encryption" in AsyncMappingKernelManager.class_trait_names()


class ShortPathKernelManager(KernelBase):  # type: ignore[misc,valid-type]
    """One kernel, whose ipc sockets fit into sun_path however long the home's name is."""

    _short_folder: str | None = None

    def _ip_default(self) -> str:
        default = super()._ip_default()
        if self.transport != "ipc" or len(os.fsencode(os.path.dirname(default))) <= LONGEST_FOLDER:
            return default
        cls = ShortPathKernelManager
        if cls._short_folder is None:
            cls._short_folder = tempfile.mkdtemp(prefix="gears-", dir="/tmp")
        return os.path.join(cls._short_folder, os.path.basename(default))


class GearsKernelManager(AsyncMappingKernelManager):
    """All kernels of a lab."""

    max_bytes = BUFFER_BYTES
    notebook_names: Callable[[], dict[str, str]] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: dict[str, list[Any]] = {}

    def start_buffering(self, kernel_id: str, session_key: str, channels: Any) -> None:
        super().start_buffering(kernel_id, session_key, KeptChannels(channels))
        late = self._late.pop(kernel_id, [])
        if kernel_id not in self._kernel_buffers:
            return

        def said() -> None:
            self.log.warning(
                "gears: kernel %s wrote more than is kept for a browser that is away; "
                "its oldest printed output is dropped",
                kernel_id,
            )

        buffer = BoundedBuffer(self.max_bytes, said)
        for message in late:
            buffer.append(message)
        self._kernel_buffers[kernel_id]["buffer"] = buffer

    def keep_late(self, kernel_id: str, message: Any) -> None:
        """Take a message whose page is closing (buffering begins at once) or has closed."""
        if kernel_id in self._kernel_buffers:
            self._kernel_buffers[kernel_id]["buffer"].append(message)
        else:
            self._late.setdefault(kernel_id, []).append(message)

    def keep_before(self, kernel_id: str, messages: Iterable[Any]) -> None:
        """Keep what came before anything that was late."""
        if kernel_id not in self._kernel_buffers:
            self._late[kernel_id] = [*messages, *self._late.get(kernel_id, [])]

    def forget_late(self, kernel_id: str) -> None:
        """Another page listens: it has heard the same."""
        self._late.pop(kernel_id, None)

    def get_buffer(self, kernel_id: str, session_key: str) -> Any:
        """What was kept, for whoever comes first: a page that was closed does not come back."""
        kept = self._kernel_buffers.get(kernel_id)
        if kept and kept["channels"] and kept["session_key"] != session_key:
            kept["session_key"] = session_key
            kept["buffer"].keep(is_for_anybody)
        return super().get_buffer(kernel_id, session_key)

    async def start_kernel(self, **kwargs: Any) -> str:
        kernel_id = await super().start_kernel(**kwargs)
        self.write_kernels_txt()
        return kernel_id

    def remove_kernel(self, kernel_id: str) -> Any:
        removed = super().remove_kernel(kernel_id)
        self._late.pop(kernel_id, None)
        self.write_kernels_txt()
        return removed

    def describe_kernels(self) -> str:
        """One line that names the live kernels for a human; empty without any."""
        names = self.notebook_names() if self.notebook_names else {}
        words = []
        for kernel_id in self.list_kernel_ids():
            kind = getattr(self.get_kernel(kernel_id), "kernel_name", "kernel")
            words.append(f"{names.get(kernel_id, kernel_id[:8])} ({kind})")
        line = "".join(c if c.isprintable() else "?" for c in ", ".join(words))
        kept = line.encode("utf-8", "replace")
        if len(kept) < KERNELS_TXT_BYTES:
            return line
        return kept[: KERNELS_TXT_BYTES - 8].decode("utf-8", "ignore") + "…"

    def write_kernels_txt(self) -> None:
        """Replace kernels.txt in one step; failing to is never a reason to disturb a kernel."""
        path = Path(jupyter_runtime_dir()) / "kernels.txt"
        line = self.describe_kernels()
        try:
            if not line:
                path.unlink(missing_ok=True)
                return
            temporary = path.with_name(f".kernels.txt.{os.getpid()}")
            temporary.write_text(line + "\n", "utf-8")
            temporary.replace(path)
        except OSError as problem:
            self.log.warning("gears: %s is not up to date: %s", path, problem)


class GearsSessionManager(SessionManager):
    """Knows which notebook a kernel serves, and says so when that changes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kernel_manager.notebook_names = self.notebook_names
        self.kernel_manager.write_kernels_txt()

    def notebook_names(self) -> dict[str, str]:
        rows = self.cursor.execute("SELECT kernel_id, path, name FROM session").fetchall()
        return {row[0]: row[1] or row[2] or row[0] for row in rows if row[0]}

    async def save_session(self, *args: Any, **kwargs: Any) -> Any:
        model = await super().save_session(*args, **kwargs)
        self.kernel_manager.write_kernels_txt()
        return model

    async def update_session(self, *args: Any, **kwargs: Any) -> None:
        await super().update_session(*args, **kwargs)
        self.kernel_manager.write_kernels_txt()
