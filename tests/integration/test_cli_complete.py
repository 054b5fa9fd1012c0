"""Completion in bash, zsh and fish: commands, options, names of services and clusters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from conftest import Gears
from terminal import Terminal


def bash_completes(gears: Gears, *words: str) -> list[str]:
    script = (
        "source <(gearsctl completion bash); COMP_WORDS=(gearsctl "
        + " ".join(f"'{word}'" for word in words)
        + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); compopt() { :; }\n"
        + 'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}\n'
        + '_gearsctl gearsctl "${COMP_WORDS[COMP_CWORD]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**gears.environment, "PATH": f"{gears.bin}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=gears.home,
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_bash_completes_commands_options_and_names(gears: Gears) -> None:
    assert bash_completes(gears, "sta") == ["start", "status"]
    listed = re.findall(r"^  ([a-z-]+) ", gears.run("--help").stdout, re.MULTILINE)
    assert bash_completes(gears, "") == listed
    assert bash_completes(gears, "start", "--wor") == ["--workspace"]
    assert bash_completes(gears, "start", "--workspace", "wo") == ["work"]
    assert bash_completes(gears, "wait", "lab", "--for", "") == ["ready", "stopped"]
    assert bash_completes(gears, "daemon", "st") == ["start", "stop", "status"]
    assert bash_completes(gears, "--no-autostart", "completion", "") == ["bash", "zsh", "fish"]
    assert bash_completes(gears, "signal", "lab", "US") == ["USR1", "USR2"]
    assert bash_completes(gears, "url", "lab", "") == []
    clusters = bash_completes(gears, "attach", "")
    assert clusters == bash_completes(gears, "login", "")
    assert {"andes", "frontier"} <= set(clusters)  # from the site packs
    assert bash_completes(gears, "stop", "lab@an") == ["lab@andes"]
    assert bash_completes(gears, "logout", "--a") == ["--all"]
    assert not gears.processes(), "completion starts nothing"
    assert bash_completes(gears, "start", "") == ["lab"]  # from the configuration
    gears.run("run", "tb", "--", "sleep", "1000")
    assert bash_completes(gears, "stop", "") == ["lab", "tb"]  # from gearsd
    assert bash_completes(gears, "stop", "lab", "t") == ["tb"]
    assert bash_completes(gears, "logs", "g") == ["gearsd"]


def test_bash_completes_behind_an_at_sign(gears: Gears) -> None:
    """For bash the "@" ends a word; what is completed must not say "lab@" twice."""
    environment = {**gears.environment, "PATH": f"{gears.bin}:{os.environ['PATH']}", "PS1": "$ "}
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment) as terminal:
        terminal.type("source <(gearsctl completion bash); echo ready''now\n")
        terminal.expect("readynow")
        terminal.type("echo '<'; : gearsctl; gearsctl stop --no-wait lab@an\t")
        terminal.expect("lab@andes ")
        assert "lab@lab@" not in terminal.output
        terminal.type("\x15exit\n")
        assert terminal.wait() == 0


def test_zsh_completes(gears: Gears) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh is needed")
    environment = {**gears.environment, "PATH": f"{gears.bin}:{os.environ['PATH']}", "PS1": "% "}
    with Terminal(["zsh", "-f", "-i"], environment) as terminal:
        terminal.type("autoload -U compinit; compinit -u -D; source <(gearsctl completion zsh)\n")
        terminal.type("echo ready''now\n")
        terminal.expect("readynow")
        terminal.type("gearsctl ver\t")
        terminal.expect("gearsctl version")
        terminal.type("\x15gearsctl start --work\t")
        terminal.expect("--workspace")
        terminal.type("\x15gearsctl enable lab@an\t")
        terminal.expect("enable lab@andes")
        terminal.type("\x15exit\n")
        assert terminal.wait() == 0


def test_fish_completes(gears: Gears) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is needed")
    environment = {
        **gears.environment,
        "PATH": f"{gears.bin}:{os.environ['PATH']}",
        "HOME": str(gears.home),
    }

    def completes(line: str) -> list[str]:
        script = f"gearsctl completion fish | source; complete -C '{line}'"
        result = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        return [found.split("\t")[0] for found in result.stdout.splitlines()]

    assert completes("gearsctl sta") == ["start", "status"]
    assert completes("gearsctl start --wor") == ["--workspace"]
    assert completes("gearsctl enable ") == ["lab"]
    assert completes("gearsctl enable lab@an") == ["lab@andes"]
    assert completes("gearsctl takeover fr") == ["frontier"]
