#!/bin/sh
# Installs the programs that tests use and pip does not bring: Chromium (pages), fitsverify and STILTS (the catalogue's
# files), a C compiler (lamostvac/spectra/native.c), strace (tools/file_system.py), and a Slurm of one's own (packages:
# tools/slurm_lab.py). Nothing happens when all are there.
#
# tools/install_test_programs.sh          with apt-get, as root, on Debian or Ubuntu
# tools/install_test_programs.sh --list   only says what is missing
#
# Where it cannot install it names what is missing, and tests that need it are skipped; with LAMOSTVAC_REQUIRE_PROGRAMS
# set, as in .ci/run, that is an error.
set -eu
cd "$(dirname "$0")/.."

has() {
    for name in "$@"; do
        command -v "$name" >/dev/null && return 0
    done
    return 1
}

has_package() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
has chromium chromium-browser google-chrome chrome || missing="$missing chromium"
has fitsverify || missing="$missing fitsverify"
has stilts || missing="$missing stilts"
has cc || missing="$missing gcc libc6-dev"
has strace || missing="$missing strace"
# Some of these are plug-ins and no commands.
lab=$(PYTHONPATH=tools python3 -c 'import slurm_lab; print(*slurm_lab.PACKAGES)')
for package in $lab; do
    has_package "$package" || missing="$missing $package"
done

if [ -z "$missing" ]; then
    echo "All programs that tests use are there."
    exit 0
fi
echo "Missing programs that tests use:$missing"
[ "${1-}" != --list ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
    echo "They can be installed here by root with apt-get only, and this is not so." >&2
    [ -z "${LAMOSTVAC_REQUIRE_PROGRAMS-}" ] || exit 1
    echo "Tests that need them will be skipped." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
echo "apt-get update"
apt-get update -qq </dev/null
echo "apt-get install --no-install-recommends$missing"
# shellcheck disable=SC2086  # a list of words
apt-get install -y -qq --no-install-recommends $missing </dev/null
