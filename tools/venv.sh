#!/bin/sh
# Make a virtual environment, or leave the one that is there: venv.sh FOLDER [PYTHON]
#
# With PYTHON named, an environment of another version is made anew with it. Otherwise one that
# runs stays, and a new one gets the newest Python for which pip offers torch without CUDA (200 MB
# instead of 3 GB), or the newest of all where pip offers that for none. Each is tried by running
# it: a shim of a version that is not installed is on the PATH too, but does not run.
set -eu

folder=$1
named=${2:-}
newest_first="python3.13 python3.12 python3.11"
torch=$(sed -n 's/^torch==//p' "$(dirname "$0")/../constraints.txt")

runs() {
    "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

installs_quickly() {
    "$1" -m pip index versions torch 2>/dev/null | grep -qF "$torch+cpu"
}

chosen() {
    running=$(for each in ${named:-$newest_first}; do runs "$each" && echo "$each"; done || true)
    for each in $running; do
        if [ -z "$named" ] && installs_quickly "$each"; then
            echo "$each"
            return
        fi
    done
    echo "$running" | head -n 1
}

have=$(version "$folder/bin/python")
if [ -n "$have" ] && { [ -z "$named" ] || [ "$have" = "$(version "$named")" ]; }; then
    exit 0
fi
python=$(chosen)
if [ -z "$python" ]; then
    echo "atlasbasset needs Python 3.11 or newer with its venv module; tried, and not running:" \
        "${named:-$newest_first}. Install one, or name yours: make PYTHON=/path/to/python3.13" >&2
    exit 1
fi
echo "$folder gets $("$python" --version)${have:+ in place of Python $have}"
"$python" -m venv --clear "$folder"
