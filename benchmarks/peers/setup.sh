#!/usr/bin/env bash
# Makes one environment per peer under DIR, for `python -m benchmarks --peers DIR`:
#
#     benchmarks/peers/setup.sh DIR [torch|jax|tf-keras-vis|xplique ...]
#
# Needed: python3.11 (PYTHON=... for another), a package index, about 6 GB. CPU builds; on a machine with a GPU
# and torch, JAX and CUDA already installed, name that Python instead: `--peer-python torch=/usr/bin/python3`.
set -euo pipefail

dir="${1:?Expected a folder. Received nothing. Do: benchmarks/peers/setup.sh DIR}"
shift
peers=("$@")
[[ ${#peers[@]} -gt 0 ]] || peers=(torch jax tf-keras-vis xplique)
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-python3.11}"

mkdir -p "$dir"
for peer in "${peers[@]}"; do
  requirements="$here/$peer.txt"
  [[ -f "$requirements" ]] || { echo "Expected a peer out of torch, jax, tf-keras-vis, xplique. Received: $peer." >&2; exit 2; }
  "$python" -m venv --clear "$dir/$peer"
  install=("$dir/$peer/bin/python" -m pip install --quiet --disable-pip-version-check)
  # A machine without a GPU needs neither the CUDA build of torch nor the CUDA libraries that Xplique asks for.
  case "$peer" in
    torch) "${install[@]}" -r "$requirements" ;;
    xplique)
      "${install[@]}" -r "$requirements"
      "${install[@]}" --no-deps xplique==2.0.2
      ;;
    *) "${install[@]}" -r "$requirements" ;;
  esac
  echo "$peer: $("$dir/$peer/bin/python" --version)"
done
