#!/bin/sh
# The GPU bench on a bare machine: installs offline what bench/gpu/bundle.py has packed, runs the phases in order of
# worth, writes each phase's JSON at once. More pieces run more phases: Ray's wheel is in the last ones.
#
#     sh run.sh [--device cuda|cpu] [--quick] [--seconds 480] [--out FOLDER] PIECE..
set -eu
device=cuda quick= seconds=480 out=gpu-out
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2; shift 2 ;;
        --quick) quick=--quick; shift ;;
        --seconds) seconds=$2; shift 2 ;;
        --out) out=$2; shift 2 ;;
        --) shift; break ;;
        -*) echo "unknown option $1" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "no pieces given: sh run.sh gpu-bundle/piece*" >&2; exit 2; }
began=$(date +%s)
mkdir -p "$out"
out=$(cd "$out" && pwd)
place=$(mktemp -d "${TMPDIR:-/tmp}/raydub-gpu.XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
# Where the last pieces are missing, tar ends within a wheel: what came before is there.
cat "$@" | tar -x -C "$place" -f - 2> "$out/tar.log" || echo "not all pieces are given: see $out/tar.log"
python=${PYTHON:-python3}
# Into a folder of its own, one by one: a wheel that is cut off must not keep out the others.
for wheel in "$place"/wheels/*.whl; do
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$place/site" \
        "$wheel" >> "$out/install.log" 2>&1 || echo "not installed: $(basename "$wheel")" | tee -a "$out/install.log"
done
models=$place/site/face_recognition_models/models
mkdir -p "$models"
touch "$models/../__init__.py"
for packed in "$place"/*.dat.bz2; do
    # Named only when it is whole.
    file=$models/$(basename "$packed" .bz2)
    "$python" -c 'import bz2, shutil, sys; shutil.copyfileobj(bz2.open(sys.argv[1]), open(sys.argv[2], "wb"))' \
        "$packed" "$file.part" 2>> "$out/install.log" && mv "$file.part" "$file" || echo "no landmark file: whole jobs will fail"
done
cd "$place/tree"
left=$((seconds - $(date +%s) + began))
PYTHONPATH="$place/tree:$place/site" "$python" -m bench.gpu.phases --device "$device" $quick --seconds "$left" --out "$out"
