#!/bin/sh
# From a bare machine to a running JupyterLab: installs what building needs, builds, installs into
# GEARS_HOME (default ~/gears), starts the lab. Run it again at any time; it does what is missing.
set -eu

source=$(cd -- "$(dirname -- "$0")/.." && pwd)
GEARS_HOME=${GEARS_HOME:-$HOME/gears}
export GEARS_HOME
build=${GEARS_BUILD:-$source/build/release}
packages="build-essential cmake ninja-build pkg-config libevent-dev libcjson-dev libinih-dev
    python3-venv libsystemd-dev"
policy=

say() {
    printf 'quickstart: %s\n' "$*" >&2
}

finish() {
    [ -z "$policy" ] || rm -f "$policy"
}
trap finish EXIT
trap 'exit 130' INT TERM

missing_tools() {
    for tool in cc cmake ninja pkg-config python3; do
        command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$tool"
    done
    if command -v pkg-config >/dev/null 2>&1; then
        for library in libevent_core libcjson inih; do
            pkg-config --exists "$library" || printf '%s ' "$library"
        done
    fi
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || printf 'python3-venv '
}

# Packages installed here must not start daemons on a machine that is only building.
install_packages() {
    say "installing build tools with apt-get"
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -qq -y --no-install-recommends $packages >/dev/null
    finish
    policy=
}

# Without root, conda-forge has all of it. (Not part of the project's own test run.)
install_conda_tools() {
    tools=$source/build/tools
    for conda in mamba micromamba conda; do
        command -v "$conda" >/dev/null 2>&1 || continue
        say "installing build tools from conda-forge with $conda into build/tools"
        if [ ! -e "$tools/.complete" ]; then
            "$conda" create --yes --quiet --prefix "$tools" --override-channels \
                --channel conda-forge c-compiler cmake ninja pkg-config libevent cjson inih \
                python >&2
            : >"$tools/.complete"
        fi
        PATH=$tools/bin:$PATH
        CC=$(find "$tools/bin" -name '*-linux-gnu-cc' | head -n 1)
        PKG_CONFIG_PATH=$tools/lib/pkgconfig
        export PATH CC PKG_CONFIG_PATH
        # Programs find their libraries where they were linked, without LD_LIBRARY_PATH.
        set -- -DCMAKE_PREFIX_PATH="$tools" -DCMAKE_BUILD_RPATH="$tools/lib"
        configure_options="$*"
        return 0
    done
    return 1
}

configure_options=
missing=$(missing_tools)
if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        install_packages
    elif ! install_conda_tools; then
        say "missing: $missing- ask for them, load them with modules, or provide mamba or conda"
        exit 1
    fi
    missing=$(missing_tools)
    if [ -n "$missing" ]; then
        say "still missing: $missing"
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
say "starting the lab"
"$gearsctl" start lab >&2
"$gearsctl" forward lab >&2 || say "no local port; the address below is for your laptop"
say "JupyterLab on this machine (the address holds its token: keep it to yourself):"
"$gearsctl" url lab
say "to reach it from your laptop, put this into the laptop's ~/.ssh/config:"
"$gearsctl" ssh-config
say "done; from now on: $gearsctl status"
