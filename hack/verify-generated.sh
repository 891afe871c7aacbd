#!/usr/bin/env bash
# Generates everything into a scratch folder and compares it with what is in the repository.
#
#   hack/verify-generated.sh TOOLS
set -euo pipefail

tools=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

hack/generate.sh "$tools" "$scratch"
stale=0
while IFS= read -r file; do
  diff -u "$file" "$scratch/$file" || stale=1
done < <(cd "$scratch" && find . -type f | sort)
# A definition whose type is gone.
for file in charts/hssgate/files/crds/*.yaml; do
  [[ -e $scratch/$file ]] || { echo "$file: no type generates this any more"; stale=1; }
done
if ((stale)); then
  echo "generated files don't fit the types: run make generate" >&2
  exit 1
fi
