#!/bin/sh
# From a bare machine to a running JupyterLab: installs what building needs, builds, installs into
# GEARS_HOME (default ~/gears), starts the lab. Run it again at any time; it does what is missing.
#   sh contrib/quickstart.sh [--no-lab]
# --no-lab: all but starting the lab and forwarding it.
set -eu

lab=yes
case $#:${1:-} in
0:) ;;
1:--no-lab) lab=no ;;
*)
    echo "usage: sh contrib/quickstart.sh [--no-lab]" >&2
    exit 2
    ;;
esac
source=$(cd -- "$(dirname -- "$0")/.." && pwd)
GEARS_HOME=${GEARS_HOME:-$HOME/gears}
export GEARS_HOME
build=${GEARS_BUILD:-$source/build/release}
packages="build-essential cmake ninja-build pkg-config libevent-dev libcjson-dev libinih-dev
    libssh2-1-dev libssl-dev python3-venv libsystemd-dev"

# shellcheck source=contrib/tools.sh
. "$source/contrib/tools.sh"

say() {
    printf 'quickstart: %s\n' "$*" >&2
}

missing_tools() {
    missing_commands cc cmake ninja pkg-config python3
    missing_libraries libevent_core libcjson inih libssh2 libcrypto
    missing_venv
}

configure_options=
missing=$(missing_tools)
if [ -n "$missing" ]; then
    if can_apt; then
        say "installing build tools with apt-get: missing $missing"
        # shellcheck disable=SC2086 # a list of words
        apt_install $packages >/dev/null
    elif has_conda; then
        say "installing build tools from conda-forge into build/tools: missing $missing"
        conda_install "$source/build/tools" c-compiler cmake ninja pkg-config libevent cjson \
            inih libssh2 openssl python || true
    fi
    missing=$(missing_tools)
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086 # a list of words
        say "missing: $missing- load them with modules, provide mamba or conda, or ask for them" \
            "($(as_packages $packages))"
        exit 1
    fi
fi

say "building in $build"
# shellcheck disable=SC2086 # a list of words
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGEARS_TESTS=OFF \
    $configure_options >/dev/null
cmake --build "$build" >&2
say "installing into $GEARS_HOME"
mkdir -p "$GEARS_HOME"
cmake --install "$build" --prefix "$GEARS_HOME" >/dev/null

gearsctl=$GEARS_HOME/bin/gearsctl
"$gearsctl" init >&2
# A gearsd of an earlier run is replaced; services and connections go on.
running=$(echo '{}' | "$gearsctl" --no-autostart call Hello 2>/dev/null || true)
if [ -n "$running" ]; then
    read -r installed <"$GEARS_HOME/lib/gears/current"
    case $running in
    *"\"build\":\"$installed\""*) ;;
    *)
        say "upgrading the running gearsd to $installed"
        "$gearsctl" daemon upgrade >&2
        ;;
    esac
fi
start_lab() {
    say "starting the lab"
    "$gearsctl" start lab >&2
    if port=$("$gearsctl" forward lab); then
        say "forwarded to port $port of this machine, for your uid only"
    else
        say "no local port; the address below is for your laptop"
    fi
    say "JupyterLab (the address holds its token: keep it to yourself):"
    "$gearsctl" url lab
    say "to reach it from your laptop, put this into the laptop's ~/.ssh/config:"
    "$gearsctl" ssh-config
}

[ "$lab" = no ] || start_lab
if [ "$(command -v gearsctl)" != "$gearsctl" ]; then
    say "put this into your shell's start-up file: export PATH=$GEARS_HOME/bin:\$PATH"
fi
say "done; from now on: gearsctl status"
