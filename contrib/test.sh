#!/bin/sh
# Sets up everything the tests need and runs all of them: every compiler, ctest, every pytest
# folder. Two runs may go on side by side; each has its own build folder unless GEARS_BUILD_ROOT
# names one to use again.
set -u
PATH=$PATH:/usr/sbin:/sbin # an ordinary user's lacks them, and with them ip

source=$(cd -- "$(dirname -- "$0")/.." && pwd)
cd "$source" || exit 1
mkdir -p build
root=${GEARS_BUILD_ROOT:-$(mktemp -d "$source/build/test-XXXXXX")}
mkdir -p "$root"
logs=$root/logs
mkdir -p "$logs"
venv=${GEARS_TEST_VENV:-$source/build/test-venv}
old_venv=${GEARS_TEST_OLD_VENV:-$source/build/test-venv-jupyter1}
packages="build-essential cmake ninja-build pkg-config git libevent-dev libcjson-dev libinih-dev
    libsystemd-dev libssh2-1-dev libssl-dev libpam0g-dev python3-venv clang libclang-rt-dev
    clang-format varlink-go chromium faketime fuse3 sshfs openssh-sftp-server openssh-server
    openssh-client strace iproute2 iptables util-linux procps shellcheck curl tmux zsh fish tcsh mandoc"
commands="gcc clang cmake ninja pkg-config git python3 clang-format varlink-go-certification
    chromium faketime fusermount3 sshfs sshd ssh strace ip iptables unshare nsenter ps shellcheck
    curl tmux tcsh mandoc"
missing=
beside= # shells that run beside this one
results=$root/results # a word for each step: passed or failed

# shellcheck source=contrib/tools.sh
. "$source/contrib/tools.sh"

say() {
    printf '== %s\n' "$*"
}

finish() {
    for shell in $beside; do # interrupted: they end as well
        pkill -TERM -P "$shell" 2>/dev/null
        kill "$shell" 2>/dev/null
    done
    [ -n "${GEARS_BUILD_ROOT:-}" ] || rm -rf "$root"
}
trap finish EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND…: quiet when it passes, its whole log when it fails.
step() {
    step=$1
    shift
    log=$logs/$step.log
    if "$@" >"$log" 2>&1; then
        echo passed >>"$results"
        say "$step: passed"
        return 0
    fi
    echo failed >>"$results"
    {
        flock 8 # logs of two lanes come one after the other
        say "$step: FAILED; its log:"
        cat "$log"
    } 8>"$results.lock"
    return 1
}

count() {
    grep -c "^$1\$" "$results"
}

missing_tools() {
    # shellcheck disable=SC2086 # a list of words
    missing_commands $commands
    missing_libraries libevent_core libcjson inih libssh2 libcrypto pam
    missing_venv
}

# What the machine lacks is installed, or one line names it and nothing is run. (conda-forge, which
# quickstart.sh can use, has no browser, no sshd with PAM and no FUSE.)
install_packages() {
    if can_apt; then
        # shellcheck disable=SC2086 # a list of words
        apt_install $packages
    fi
    missing=$(missing_tools)
    [ -z "$missing" ]
}

# make_venv FOLDER PACKAGE…: kept for later runs until the list changes. Of two runs that start
# together, the second waits for the environment the first makes.
make_venv() {
    folder=$1
    shift
    [ "$(cat "$folder/.complete" 2>/dev/null)" = "$*" ] && return 0
    exec 9>"$folder.lock"
    flock 9
    [ "$(cat "$folder/.complete" 2>/dev/null)" = "$*" ] && return 0
    python3 -m venv --clear "$folder" &&
        "$folder/bin/pip" install --disable-pip-version-check --no-input "$@" &&
        printf '%s\n' "$*" >"$folder/.complete"
}

# The tests' own environment, and one with the jupyter_server that Debian 12 ships. An
# environment named by the caller is used as it is.
make_venvs() {
    if [ -z "${GEARS_TEST_VENV:-}" ] || [ ! -e "$venv/.complete" ]; then
        make_venv "$venv" jupyterlab ipykernel websocket-client varlink pytest \
            pytest-xdist ruff || return
    fi
    if [ -z "${GEARS_TEST_OLD_VENV:-}" ] || [ ! -e "$old_venv/.complete" ]; then
        make_venv "$old_venv" 'jupyter_server==1.23.*' 'jupyterlab==3.6.*' ipykernel
    fi
}

build() {
    name=$1
    shift
    cmake -S "$source" -B "$root/$name" -G Ninja "$@" && cmake --build "$root/$name"
}

build_fuzz() {
    cmake -S "$source" -B "$root/fuzz" -G Ninja -DCMAKE_C_COMPILER=clang \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGEARS_FUZZ=ON &&
        cmake --build "$root/fuzz" --target fuzz_targets
}

check_format() {
    git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run --Werror
}

check_shell() {
    shellcheck contrib/completions/*.bash &&
        shellcheck contrib/*.sh contrib/dispatcher contrib/libexec/* tests/bench/run.sh .ci/run
}

# run_pytest BUILD FOLDER [SIDE BY SIDE]
run_pytest() {
    GEARS_BIN=$root/$1/bin
    GEARS_TEST_VENV=$venv
    GEARS_TEST_OLD_VENV=$old_venv
    export GEARS_BIN GEARS_TEST_VENV GEARS_TEST_OLD_VENV
    timeout --foreground -k 30 3600 "$venv/bin/python" -m pytest -p no:cacheprovider \
        -o faulthandler_timeout=600 ${3:+-n "$3" --maxschedchunk 1} "$2"
}

# test_folder BUILD FOLDER [SIDE BY SIDE]
test_folder() {
    suffix=
    [ "$1" = release ] || suffix=-$1
    name=pytest-$2$suffix
    if step "$name" run_pytest "$1" "tests/$2" "${3:-}"; then
        tail -n 1 "$logs/$name.log"
    fi
}

# The folders of tests as words for test_folder, the longest first: "release tunnel 4". All with
# release programs; what strangers say is also heard by sanitized ones. Tests with a home or a relay
# each share nothing; a single connection to a server waits for deadlines and silences nearly all
# the time, so four go on at once.
list_folders() {
    echo release integration 2
    for kind in release debug; do
        echo "$kind tunnel 4"
        echo "$kind tunnel_login 3"
    done
    for folder in tests/*/; do
        name=$(basename "$folder")
        set -- "$folder"test_*.py
        case $name in
        integration | remote | tunnel | tunnel_login) ;;
        adoption | hostile | relay | storage) echo "release $name 2" ;;
        *) [ ! -e "$1" ] || echo "release $name" ;;
        esac
    done
    echo debug relay 2
    echo debug hostile 2
    echo debug proto
}

next_folder() {
    flock 7
    head -n 1 "$root/folders"
    sed -i 1d "$root/folders"
} 7>"$root/folders.lock"

# Two lanes go on beside each other; each takes the next folder when it is free.
test_lane() {
    while words=$(next_folder) && [ -n "$words" ]; do
        # shellcheck disable=SC2086 # a list of words
        test_folder $words
    done
}

if ! step packages install_packages; then
    # shellcheck disable=SC2086 # a list of words
    say "missing: $missing- ask for them ($(as_packages $packages))"
    exit 1
fi
if [ ! -e "$venv/.complete" ] || [ ! -e "$old_venv/.complete" ]; then
    say "making two Python environments with JupyterLab (a minute or two), and building"
fi
step venvs make_venvs &
beside=$!
step shellcheck check_shell
step clang-format check_format
step presets cmake --list-presets
step build-gcc build release -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=gcc
step build-clang build clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang
step build-debug build debug -DCMAKE_BUILD_TYPE=Debug -DGEARS_SANITIZE=ON -DCMAKE_C_COMPILER=gcc
step build-fuzz build_fuzz
wait
beside=
step ruff-check "$venv/bin/ruff" check --no-cache .
step ruff-format "$venv/bin/ruff" format --no-cache --check .
for kind in release clang; do
    step "build-bench-$kind" cmake --build "$root/$kind" --target bench_programs
done
for kind in release debug; do
    step "ctest-$kind" ctest --test-dir "$root/$kind" --output-on-failure
done
step fuzz ctest --test-dir "$root/fuzz" --output-on-failure -R '^fuzz-'
list_folders >"$root/folders"
test_lane &
beside=$!
test_lane
wait
beside=
test_folder release remote 2 # whole centres, with labs and browsers: alone
printf '%s passed, %s failed\n' "$(count passed)" "$(count failed)"
[ "$(count failed)" -eq 0 ]
