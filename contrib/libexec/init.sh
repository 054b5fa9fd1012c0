#!/bin/sh
# Makes what a user's Gears needs in GEARS_HOME: folders, a default configuration and the Python
# environment with JupyterLab. Called by `gearsctl init`; what is complete is left alone.
set -eu
umask 077

here=$(cd -- "$(dirname -- "$0")" && pwd)
home=${GEARS_HOME:-$HOME/gears}
kernel=$(uname -s | tr '[:upper:]' '[:lower:]')
system=$kernel-$(uname -m)
environment=$home/env/$system/default
marker=$environment/.gears-complete

say() {
    printf 'gears: %s\n' "$*" >&2
}

make_folders() {
    mkdir -p "$home/etc/jupyter" "$home/run" "$home/state" "$home/log" "$home/env/$system"
    chmod 700 "$home/etc" "$home/run" "$home/state" "$home/log"
}

# A second init may run at the same time on another host: the first name to appear stays.
make_configuration() {
    [ -e "$home/etc/gears.conf" ] && return
    temporary=$home/etc/.gears.conf.$$
    cp "$here/../templates/gears.conf" "$temporary"
    ln "$temporary" "$home/etc/gears.conf" 2>/dev/null || true
    rm -f "$temporary"
    say "wrote $home/etc/gears.conf"
}

with_venv() {
    for python in "${GEARS_PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python3.9; do
        [ -n "$python" ] || continue
        command -v "$python" >/dev/null 2>&1 || continue
        "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' \
            2>/dev/null || continue
        say "making a Python environment with $(command -v "$python")"
        "$python" -m venv "$environment" || return 1
        say "installing JupyterLab (this takes a minute or two)"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
            --no-input jupyterlab ipykernel
        return
    done
    return 2
}

with_conda() {
    for tool in mamba micromamba conda; do
        command -v "$tool" >/dev/null 2>&1 || continue
        say "making a Python environment with $tool (this takes some minutes)"
        "$tool" create --yes --quiet --prefix "$environment" --override-channels \
            --channel conda-forge python jupyterlab ipykernel >&2
        return
    done
    return 2
}

make_environment() {
    [ -e "$marker" ] && return
    if [ -e "$environment" ]; then
        say "completing the unfinished environment $environment"
    fi
    status=0
    with_venv || status=$?
    if [ "$status" -eq 2 ]; then
        status=0
        with_conda || status=$?
    fi
    if [ "$status" -eq 2 ]; then
        say "no Python 3.9 or newer with venv, and no mamba, micromamba or conda was found"
        say "try: module load python, or as root: apt-get install python3-venv; then: gearsctl init"
        exit 1
    elif [ "$status" -ne 0 ]; then
        say "the Python environment is not complete; the cause is above; try again: gearsctl init"
        exit 1
    fi
    "$environment/bin/python" -c 'import jupyterlab, ipykernel, argon2' || exit 1
    : >"$marker"
    say "the Python environment is complete: $environment"
}

make_folders
make_configuration
make_environment
say "ready; start the lab with: gearsctl start lab"
