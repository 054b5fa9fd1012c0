"""Measures Gears beside its peers; run.sh calls it with the folder of the programs."""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import control
import lab
import relay
import tunnel
from machine import first_in_line

GROUPS = ("relay", "control", "lab", "tunnel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path, help="the folder of gearsctl and bench_load")
    parser.add_argument("--venv", type=Path, help="a Python environment with JupyterLab")
    parser.add_argument("--quick", action="store_true", help="about four minutes, rougher")
    parser.add_argument("--only", choices=GROUPS, action="append")
    parser.add_argument("--frozen", type=float, default=0, help="seconds of a silent server")
    parser.add_argument("--libssh2", action="store_true", help="without transport = openssh")
    options = parser.parse_args()
    start = time.monotonic()
    print(
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, Linux {platform.release()}, "
        f"{os.cpu_count()} cores; medians, and ratios within one run"
    )
    groups = options.only or GROUPS
    if "relay" in groups:
        relay.run(options.programs, options.quick)
    with first_in_line():
        if "control" in groups:
            control.run(options.programs, options.quick)
        if "lab" in groups:
            lab.run(options.programs, options.quick, options.venv)
        if "tunnel" in groups:
            transports = ["libssh2"] if options.libssh2 else ["libssh2", "openssh"]
            tunnel.run(options.programs, options.quick, options.frozen, transports)
    print(f"\n{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
