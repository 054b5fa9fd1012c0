#!/bin/sh
# Measures Gears beside socat, haproxy, nginx, supervisor, tmux, a bare JupyterLab, ssh and autossh,
# all in one run: sh tests/bench/run.sh [--quick] [--only relay|control|lab|tunnel]… As root on
# Debian it installs the peers; otherwise it names what is missing and goes on without. The machine
# must be quiet: only ratios of one run count.
set -eu

here=$(cd -- "$(dirname -- "$0")" && pwd)
source=$(cd -- "$here/../.." && pwd)
build=${GEARS_BENCH_BUILD:-$source/build/bench}
venv=${GEARS_TEST_VENV:-$source/build/bench-venv}
peers="socat haproxy nginx-light libnginx-mod-stream supervisor tmux openssh-server autossh"
policy=
PATH=$PATH:/usr/sbin:/sbin # where some peers are

cleanup() {
    [ -z "$policy" ] || rm -f "$policy"
}
trap cleanup EXIT

missing_packages() {
    for package in $peers; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
        [ "$status" = "install ok installed" ] || printf ' %s' "$package"
    done
}

install_peers() {
    wanted=$(missing_packages)
    [ -n "$wanted" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        printf 'bench: goes on without:%s (install them as root)\n' "$wanted" >&2
        return 0
    fi
    if [ ! -e /usr/sbin/policy-rc.d ]; then # the peers' services stay off
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 $wanted >/dev/null
    cleanup
}

make_venv() {
    [ -e "$venv/bin/jupyter-lab" ] && [ -e "$venv/bin/pytest" ] && return 0
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install -q --disable-pip-version-check jupyterlab pytest ||
        printf 'bench: goes on without a JupyterLab to start, and without tunnels\n' >&2
}

build() {
    cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
    cmake --build "$build" --target bench_programs >/dev/null
    sync # programs not yet on the disk would count as dirty memory of who runs them
}

install_peers
make_venv
build
python=python3
[ -e "$venv/bin/pytest" ] && python=$venv/bin/python # the tests' own tools need it
exec "$python" -B "$here/bench.py" --venv "$venv" "$build/bin" "$@"
