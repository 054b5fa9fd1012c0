# Getting what a machine lacks, for quickstart.sh and test.sh, which read this file. As root on
# Debian from apt; as an ordinary user from conda-forge; else the caller names what is missing.
# shellcheck shell=sh

# missing_commands COMMAND…: those that are not here.
missing_commands() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$tool"
    done
}

# missing_libraries NAME…: those that pkg-config does not know.
missing_libraries() {
    command -v pkg-config >/dev/null 2>&1 || return 0
    for library in "$@"; do
        pkg-config --exists "$library" || printf '%s ' "$library"
    done
}

# as_packages PACKAGE…: what an administrator of Debian is to be asked for.
as_packages() {
    printf 'on Debian, as root: apt-get install'
    printf ' %s' "$@"
}

missing_venv() {
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || printf 'python3-venv '
}

has_conda() {
    command -v mamba || command -v micromamba || command -v conda
} >/dev/null 2>&1

can_apt() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1
}

# apt_install PACKAGE…: those that are not installed. Their daemons are not started: a machine
# that builds or tests is not to serve.
apt_install() (
    wanted=
    for package in "$@"; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
        [ "$status" = "install ok installed" ] || wanted="$wanted $package"
    done
    [ -n "$wanted" ] || exit 0
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 $wanted
)

# conda_install FOLDER PACKAGE…: into an environment of its own, then first in PATH. Sets
# configure_options, which cmake needs to find it. 1 when there is no conda.
conda_install() {
    tools=$1
    shift
    for conda in mamba micromamba conda; do
        command -v "$conda" >/dev/null 2>&1 || continue
        if [ "$(cat "$tools/.complete" 2>/dev/null)" != "$*" ]; then
            rm -rf "$tools"
            "$conda" create --yes --quiet --prefix "$tools" --override-channels \
                --channel conda-forge "$@" >&2 || return 1
            printf '%s\n' "$*" >"$tools/.complete"
        fi
        PATH=$tools/bin:$PATH
        CC=$(find "$tools/bin" -name '*-linux-gnu-cc' | head -n 1)
        PKG_CONFIG_PATH=$tools/lib/pkgconfig
        export PATH CC PKG_CONFIG_PATH
        # Programs find their libraries where they were linked, without LD_LIBRARY_PATH.
        # shellcheck disable=SC2034 # for the caller
        configure_options="-DCMAKE_PREFIX_PATH=$tools -DCMAKE_BUILD_RPATH=$tools/lib"
        return 0
    done
    return 1
}
