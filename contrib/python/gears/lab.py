"""Starts JupyterLab for gearsd, which runs this file with an environment's own Python.

It owns how the server starts: what gearsd needs (the Unix socket, the token, private kernels) is
forced over whatever Jupyter configuration is found, and a configuration that keeps the server
from starting is set aside, in words, instead of keeping a scientist from the notebooks.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
# Set in a second attempt that reads no configuration files.
PLAIN = "GEARS_LAB_PLAIN"
# What gearsd tells this launcher and nobody else. GEARS_KEEPER stays: it is how a keeper
# recognises what its service left behind.
PRIVATE = ("GEARS_COOKIE_NAME", "GEARS_IDLE_CULL", PLAIN, "JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE")


def leave_own_folder() -> None:
    """Files beside this one must never be taken for a user's modules."""
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != HERE]


def load_beside(name: str) -> ModuleType:
    """Import a file of this folder under a name no other package has."""
    alias = f"_gears_{name}"
    spec = importlib.util.spec_from_file_location(alias, HERE / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{HERE / name}.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    spec.loader.exec_module(module)
    return module


def take_private() -> dict[str, str]:
    """Remove what kernels and terminals must not inherit, and return it."""
    return {name: os.environ.pop(name) for name in PRIVATE if name in os.environ}


def read_token(private: dict[str, str]) -> str:
    path = private.get("JUPYTER_TOKEN_FILE")
    token = Path(path).read_text("ascii").strip() if path else private.get("JUPYTER_TOKEN", "")
    if not token:
        raise SystemExit("gears: the token of the lab is missing; restart it: gearsctl restart lab")
    return token


def idle_cull(private: dict[str, str]) -> int:
    text = private.get("GEARS_IDLE_CULL", "")
    return int(text) if text.isdigit() else 0


def saved_password() -> str:
    """The hash `gearsctl password` stored: it holds even when configuration is set aside."""
    try:
        path = Path(os.environ["JUPYTER_CONFIG_DIR"]) / "jupyter_server_config.json"
        hashed = json.loads(path.read_text("utf-8"))["PasswordIdentityProvider"]["hashed_password"]
    except (KeyError, OSError, TypeError, ValueError):
        return ""
    return hashed if isinstance(hashed, str) else ""


def kernel_settings(cull: int, kernels: ModuleType) -> dict[str, Any]:
    """The settings of kernel managers, for the general class and, as it wins, ours."""
    managers: dict[str, Any] = {
        "cull_idle_timeout": cull,
        "cull_busy": False,
        "cull_connected": True,
        "kernel_manager_class": f"{kernels.__name__}.ShortPathKernelManager",
    }
    if kernels.has_encryption():
        managers["transport_encryption"] = "auto"
    if cull:
        managers["cull_interval"] = max(1, min(300, cull // 2))
    connection = {"transport": "ipc"}
    return {
        "MultiKernelManager": {"kernel_manager_class": managers["kernel_manager_class"]},
        "MappingKernelManager": managers,
        "AsyncMappingKernelManager": managers,
        "GearsKernelManager": managers,
        "KernelManager": connection,
        "ShortPathKernelManager": connection,
    }


def server_settings(major: int, token: str, private: dict[str, str]) -> dict[str, Any]:
    server: dict[str, Any] = {
        # A port other than the default next to a socket makes Jupyter give up.
        "ip": "localhost",
        "port": 8888,
        "base_url": "/",
        "certfile": "",
        "keyfile": "",
        "file_to_run": "",
        "open_browser": False,
        "sock_mode": "0600",
        "shutdown_no_activity_timeout": 0,
    }
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        server["allow_root"] = True
    settings: dict[str, Any] = {"ServerApp": server, "LabApp": {"open_browser": False}}
    cookie = private.get("GEARS_COOKIE_NAME")
    if major < 2:
        server["token"] = token
        return settings
    identity: dict[str, Any] = {"token": token}
    if cookie:
        identity["cookie_name"] = cookie
    settings["IdentityProvider"] = identity
    settings["PasswordIdentityProvider"] = dict(identity)
    if private.get(PLAIN) and saved_password():
        settings["PasswordIdentityProvider"]["hashed_password"] = saved_password()
    return settings


def make_server_class(base: type, forced: Any, major: int, private: dict[str, str]) -> type:
    """A ServerApp whose forced settings survive every file and extension that is read."""
    plain = bool(private.get(PLAIN))
    cookie = private.get("GEARS_COOKIE_NAME")

    class GearsServerApp(base):  # type: ignore[misc,valid-type]
        name = base.name

        def update_config(self, config: Any) -> None:
            merged = copy.deepcopy(config)
            server = merged.get("ServerApp", {})
            if major >= 2:
                server.pop("token", None)
            merged.merge(forced)
            if major < 2 and cookie:
                settings = dict(merged.ServerApp.get("tornado_settings", {}))
                merged.ServerApp.tornado_settings = {**settings, "cookie_name": cookie}
            super().update_config(merged)

        def load_config_file(self, *args: Any, **kwargs: Any) -> None:
            if plain:
                self.update_config(type(forced)())
                return
            before = copy.deepcopy(self.config)
            try:
                super().load_config_file(*args, **kwargs)
            except (Exception, SystemExit) as problem:
                self.log.error("gears: Jupyter configuration is set aside: %s", problem)
                self.config = before
            self.update_config(type(forced)())

    return GearsServerApp


def launch(argv: list[str], private: dict[str, str]) -> Any:
    """Build a server that is ready to start."""
    import jupyter_server
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

    load_beside("lab_replay").install()
    kernels = load_beside("lab_kernels")
    major = int(jupyter_server.__version__.split(".", 1)[0])
    forced = Config(server_settings(major, read_token(private), private))
    forced.merge(Config(kernel_settings(idle_cull(private), kernels)))
    forced.ServerApp.kernel_manager_class = kernels.GearsKernelManager
    forced.ServerApp.session_manager_class = kernels.GearsSessionManager
    server_class = make_server_class(ServerApp, forced, major, private)
    try:
        from jupyterlab.labapp import LabApp
    except ImportError:
        server = server_class.instance()
        server.initialize(argv)
        return server

    # As LabApp.initialize_server, which makes a plain ServerApp before jupyter_server 2.
    server = server_class.instance(jpserver_extensions={LabApp.get_extension_package(): True})
    server.aliases.update(LabApp.aliases)
    server.initialize(
        argv, starter_extension=LabApp.name, find_extensions=LabApp.load_other_extensions
    )
    return server


def main(argv: list[str]) -> None:
    leave_own_folder()
    os.umask(0o077)
    private = take_private()
    try:
        server = launch(argv, private)
    except (Exception, SystemExit) as problem:
        if private.get(PLAIN):
            raise
        print(f"gears: the lab did not start: {problem!r}", file=sys.stderr)
        print("gears: trying once more without Jupyter configuration files", file=sys.stderr)
        sys.stderr.flush()
        os.environ.update(private, **{PLAIN: "1"})
        flags = ["-s"] if sys.flags.no_user_site else []
        os.execv(sys.executable, [sys.executable, *flags, str(HERE / "lab.py"), *argv])
    server.start()


if __name__ == "__main__":
    main(sys.argv[1:])
