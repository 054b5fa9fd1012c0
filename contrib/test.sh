#!/bin/sh
# Sets up everything the tests need and runs all of them: every compiler, ctest, every pytest
# folder. Two runs may go on side by side; each has its own build folder unless GEARS_BUILD_ROOT
# names one to use again.
set -u

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
    libsystemd-dev python3-venv clang libclang-rt-14-dev clang-format varlink-go chromium
    chromium-driver faketime fuse3 sshfs iproute2 util-linux procps shellcheck curl mandoc"
passed=0
failed=0
policy=

say() {
    printf '== %s\n' "$*"
}

finish() {
    [ -z "$policy" ] || rm -f "$policy"
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
        passed=$((passed + 1))
        say "$step: passed"
        return 0
    fi
    failed=$((failed + 1))
    say "$step: FAILED; its log:"
    cat "$log"
    return 1
}

install_packages() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    wanted=
    for package in $packages; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
        [ "$status" = "install ok installed" ] || wanted="$wanted $package"
    done
    [ -n "$wanted" ] || return 0
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 $wanted
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
        make_venv "$venv" jupyterlab ipykernel websocket-client varlink pytest ruff || return
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

check_format() {
    git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run --Werror
}

check_shell() {
    shellcheck contrib/*.sh contrib/dispatcher contrib/libexec/* tests/bench/run.sh .ci/run
}

run_pytest() {
    GEARS_BIN=$root/$1/bin
    GEARS_TEST_VENV=$venv
    GEARS_TEST_OLD_VENV=$old_venv
    export GEARS_BIN GEARS_TEST_VENV GEARS_TEST_OLD_VENV
    "$venv/bin/python" -m pytest -p no:cacheprovider "$2"
}

step packages install_packages
if [ ! -e "$venv/.complete" ] || [ ! -e "$old_venv/.complete" ]; then
    say "making two Python environments with JupyterLab (a minute or two)"
fi
step venvs make_venvs
step ruff-check "$venv/bin/ruff" check --no-cache .
step ruff-format "$venv/bin/ruff" format --no-cache --check .
step shellcheck check_shell
step clang-format check_format
step build-gcc build release -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=gcc
step build-clang build clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang
step build-debug build debug -DCMAKE_BUILD_TYPE=Debug -DGEARS_SANITIZE=ON -DCMAKE_C_COMPILER=gcc
for kind in release clang; do
    step "build-bench-$kind" cmake --build "$root/$kind" --target bench_programs
done
for kind in release debug; do
    step "ctest-$kind" ctest --test-dir "$root/$kind" --output-on-failure
done
for folder in tests/*/; do
    folder=${folder%/}
    name=${folder##*/}
    set -- "$folder"/test_*.py
    [ -e "$1" ] || continue
    if step "pytest-$name" run_pytest release "$folder"; then
        tail -n 1 "$logs/pytest-$name.log"
    fi
done
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
