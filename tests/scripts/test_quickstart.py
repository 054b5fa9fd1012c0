"""quickstart.sh where tools are missing: one line, or conda-forge.

The way that builds for real is the project's first command. conda-forge cannot be reached by every
test machine, so a stand-in that insists on its arguments plays it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
TOOLS = "sh cat chmod find head id mkdir printf rm tr uname dirname cc pkg-config python3 env ln"

CONDA = """#!/bin/sh
[ "$1 $2 $3 $4" = "create --yes --quiet --prefix" ] || { echo "odd: $*" >&2; exit 2; }
[ "$6 $7 $8" = "--override-channels --channel conda-forge" ] || { echo "odd: $*" >&2; exit 2; }
prefix=$5
shift 8
mkdir -p "$prefix/bin"
echo "$*" >>"$prefix.asked"
printf '#!/bin/sh\\necho "$@" >"%s.cmake"\\nexit 9\\n' "$prefix" >"$prefix/bin/cmake"
printf '#!/bin/sh\\n' >"$prefix/bin/ninja"
printf '#!/bin/sh\\n' >"$prefix/bin/x86_64-conda-linux-gnu-cc"
chmod 755 "$prefix"/bin/*
"""


class Machine:
    """A PATH without cmake, ninja and apt-get, and a copy of the scripts that may write beside."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.checkout = folder / "checkout"
        self.bin.mkdir()
        for tool in TOOLS.split():
            path = os.path.realpath(sys.executable) if tool == "python3" else shutil.which(tool)
            if path:
                wrapper = self.bin / tool
                wrapper.write_text(f'#!/bin/sh\nexec {path} "$@"\n')
                wrapper.chmod(0o755)
        (self.checkout / "contrib").mkdir(parents=True)
        for script in ("quickstart.sh", "tools.sh"):
            (self.checkout / "contrib" / script).write_bytes(
                (SOURCE / "contrib" / script).read_bytes()
            )

    def quickstart(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.checkout / "contrib/quickstart.sh"), *words],
            env={
                "PATH": str(self.bin),
                "HOME": str(self.checkout.parent),
                "GEARS_HOME": str(self.checkout.parent / "gears"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_line_names_what_is_missing(machine: Machine) -> None:
    result = machine.quickstart()
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("quickstart: missing: cmake ninja ")
    assert result.stderr.count("\n") == 1
    assert "on Debian, as root: apt-get install build-essential cmake " in result.stderr
    assert not (machine.checkout.parent / "gears").exists()


def test_what_is_not_understood_does_nothing(machine: Machine) -> None:
    for words in (["--nolab"], ["--no-lab", "lab"], [""]):
        result = machine.quickstart(*words)
        assert result.returncode == 2
        assert result.stderr == "usage: sh contrib/quickstart.sh [--no-lab]\n"
    assert machine.quickstart("--no-lab").returncode == 1  # here for want of tools


def test_conda_forge_gives_an_ordinary_user_the_tools(machine: Machine) -> None:
    conda = machine.bin / "micromamba"
    conda.write_text(CONDA)
    conda.chmod(0o755)
    assert machine.quickstart().returncode == 9  # of the stand-in's cmake
    tools = machine.checkout / "build/tools"
    asked = (machine.checkout / "build/tools.asked").read_text()
    assert asked == "c-compiler cmake ninja pkg-config libevent cjson inih libssh2 openssl python\n"
    configured = (machine.checkout / "build/tools.cmake").read_text()
    assert f"-DCMAKE_PREFIX_PATH={tools} -DCMAKE_BUILD_RPATH={tools}/lib" in configured
    assert machine.quickstart().returncode == 9
    assert (machine.checkout / "build/tools.asked").read_text() == asked  # only once
