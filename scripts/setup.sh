#!/usr/bin/env bash
# Makes .venv with the pinned dependencies and this package (editable), and adds the system packages that pip
# cannot bring. Usage: scripts/setup.sh [EXTRA...]   (extras of pyproject.toml: test, bench, boards, train)
#
# .venv/.setup-<extra> is written last and holds a digest of everything that decides the result, so a second run
# is quick; .venv/.incomplete stands while packages change, so what an interrupted run left is never trusted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=.venv

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

case $PWD in
    *[[:space:]]*) die "this folder is '$PWD': Verilator's makefiles cannot be used in a path with a space; move it and run make again" ;;
esac

# One set-up at a time: two makes in one checkout must not write into one environment.
exec 9<scripts/setup.sh
if command -v flock >/dev/null && ! flock -n 9; then
    say "another make sets up this folder; waiting until it is done"
    flock 9
fi

# --- Python -----------------------------------------------------------------------------------------------------
usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3.11 python3 python3.12 python3.13; do
        if usable "$candidate"; then python=$candidate; break; fi
    done
    [ -n "$python" ] || die "no Python 3.11 to 3.13 found; install one (Debian: apt-get install python3) or set PYTHON=/path/to/python"
else
    usable "$python" || die "PYTHON=$python is not a Python 3.11 to 3.13"
fi
python=$("$python" -c 'import sys; print(sys.executable)')
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# --- system packages --------------------------------------------------------------------------------------------
has_shared_libpython() {
    "$python" - <<'PY'
import ctypes, os, sys, sysconfig
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
try:
    ctypes.CDLL(name)
except OSError:
    sys.exit(not os.path.exists(os.path.join(sysconfig.get_config_var("LIBDIR") or "", name)))
PY
}

extras=("$@")
wanted() { [[ " ${extras[*]} " == *" $1 "* ]]; }

# Prints the Debian packages that are missing, each with what it is for.
missing_packages() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv:the virtual environment"
    has_shared_libpython || echo "libpython$version:simulation (cocotb embeds a shared libpython)"
    command -v iverilog >/dev/null || echo "iverilog:the Icarus simulator"
    command -v g++ >/dev/null || echo "g++:Verilator simulation"
    command -v make >/dev/null || echo "make:Verilator simulation"
    [ -e /usr/include/lz4.h ] || echo "liblz4-dev:FST waveforms from Verilator"
    [ -e /usr/include/zlib.h ] || echo "zlib1g-dev:FST waveforms from Verilator"
    perl -MPod::Usage -MGetopt::Long -e 1 2>/dev/null || echo "perl:Verilator"
    if wanted test; then command -v chromium >/dev/null || echo "chromium:the tests of the report's page"; fi
    if wanted boards && ! ldconfig -p 2>/dev/null | grep -q libftdi1; then echo "libftdi1-2:loading bitstreams"; fi
    case $python in /usr/bin/*) # another Python would not find Debian's
        if wanted test && ! "$python" -c 'import tkinter' 2>/dev/null; then echo "python3-tk:the tests of Vivado scripts"; fi ;;
    esac
}

as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
can_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ] && can_install; then
    say "installing ${missing[*]%%:*} with apt-get"
    mkdir -p build
    { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]%%:*}"; } >build/apt.log 2>&1 </dev/null \
        || say "apt-get failed (build/apt.log)"
    mapfile -t missing < <(missing_packages)
fi
if [ ${#missing[@]} -gt 0 ]; then
    what=$(printf '%s\n' "${missing[@]#*:}" | awk '!seen[$0]++ { printf "%s%s", separator, $0; separator = "; " }')
    say "missing: $what. To get it on Debian or Ubuntu: sudo apt-get install ${missing[*]%%:*}"
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || die "$python cannot make a virtual environment: install python$version-venv, then run make again"

# --- virtual environment ----------------------------------------------------------------------------------------
digest=$( { cat pyproject.toml requirements.lock scripts/setup.sh; printf '%s\n' "$python" "$version" "$PWD"; } | sha256sum | cut -d' ' -f1)
stamps=("$venv/.setup-run")
for extra in "${extras[@]}"; do stamps+=("$venv/.setup-$extra"); done
ready() { for stamp in "${stamps[@]}"; do [ "$(cat "$stamp" 2>/dev/null)" = "$digest" ] || return 1; done; }

if [ ! -e "$venv/.incomplete" ] && ready; then
    touch "${stamps[@]}"
    exit 0
fi
if [ -e "$venv/.incomplete" ]; then
    say "an earlier set-up did not finish: starting afresh"
    rm -rf "$venv"
elif [ -e "$venv" ] && [ "$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]; then
    say "$venv is not a Python $version environment: making a new one"
    rm -rf "$venv"
fi
mkdir -p "$venv"
touch "$venv/.incomplete"
for stamp in "$venv"/.setup-*; do
    [ "$(cat "$stamp" 2>/dev/null)" = "$digest" ] || rm -f "$stamp"
done
[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
target=.
if [ ${#extras[@]} -gt 0 ]; then target=".[$(IFS=,; echo "${extras[*]}")]"; fi
say "installing lstm-hw $target with Python $version (requirements.lock)"
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input -c requirements.lock -e "$target" \
    || die "pip could not install the dependencies; run make again once the package index can be reached"
for stamp in "${stamps[@]}"; do printf '%s\n' "$digest" >"$stamp"; done
rm "$venv/.incomplete"
