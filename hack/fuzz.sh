#!/usr/bin/env bash
# Runs every fuzz test of the module for a while, one after another, and fails at the end if any failed.
#
#   hack/fuzz.sh [TIME]
#
# TIME is what `go test -fuzztime` takes, 30s by default. A failing input is kept in the package's testdata/fuzz, where
# every later `go test` tries it again.
set -euo pipefail

time=${1:-30s}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found=0
failed=()
while IFS=: read -r file line; do
  package=./$(dirname "$file")
  name=${line#func }
  name=${name%%(*}
  found=$((found + 1))
  echo "fuzzing $name in $package for $time"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 1s -timeout 10m "$package" || failed+=("$package $name")
done < <(go list -f '{{$dir := .Dir}}{{range .TestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}' ./... |
  sed "s#^$PWD/##" | sort -u | xargs grep -HoE '^func Fuzz[A-Z0-9_][A-Za-z0-9_]*\(')

if ((found == 0)); then
  echo "found no fuzz test: go list ./... shows why" >&2
  exit 1
fi

if ((${#failed[@]})); then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "$found fuzz tests passed, $time each"
