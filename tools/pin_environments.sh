#!/bin/sh
# Writes envs/NAME.linux-64.pin.txt, the exact packages of envs/NAME.yaml, which Snakemake then installs by itself.
#
# tools/pin_environments.sh                 both environments
# tools/pin_environments.sh lamostvac       one
#
# Needs conda 24.7.1 or newer, linux-64, the network (conda-forge, bioconda) and some 6 GB for a while. The file
# begins with @EXPLICIT and has one package with its MD5 per line. Run it again whenever envs/NAME.yaml changes.
set -eu
cd "$(dirname "$0")/.."

if ! command -v conda >/dev/null; then
    echo "Error: there is no conda on PATH; load or install it first" >&2
    exit 1
fi
platform=linux-64
case "$(uname -sm)" in
    "Linux x86_64") ;;
    *)
        echo "Error: pins are for $platform and must be made there; this is $(uname -sm)" >&2
        exit 1
        ;;
esac

[ $# -gt 0 ] || set -- lamostvac snakemake
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

for name in "$@"; do
    if [ ! -f "envs/$name.yaml" ]; then
        echo "Error: there is no envs/$name.yaml" >&2
        exit 1
    fi
    # A real installation, since only that shows that the packages are there and fit together.
    conda env create --quiet --file "envs/$name.yaml" --prefix "$work/$name"
    conda list --explicit --md5 --prefix "$work/$name" >"$work/$name.txt"
    if ! grep -qx "@EXPLICIT" "$work/$name.txt"; then
        echo "Error: conda list --explicit gave no list for envs/$name.yaml" >&2
        exit 1
    fi
    cp "$work/$name.txt" "envs/.$name.pin.tmp"
    mv "envs/.$name.pin.tmp" "envs/$name.$platform.pin.txt"
    echo "envs/$name.$platform.pin.txt: $(grep -c "://" "envs/$name.$platform.pin.txt") packages"
done
