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

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# fuzz NAME PACKAGE
fuzz() {
  go test -run '^$' -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 1s -timeout 60m "$2" 2>&1 | tee "$output"
}

# Go 1.26 now and then fails a fuzz test that found nothing, when its time is up: golang/go#75804.
found_nothing() {
  grep -q '^ *context deadline exceeded$' "$output" && ! grep -q 'Failing input' "$output"
}

found=0
failed=()
while IFS=: read -r file line; do
  package=./$(dirname "$file")
  name=${line#func }
  name=${name%%(*}
  found=$((found + 1))
  echo "fuzzing $name in $package for $time"
  if fuzz "$name" "$package"; then continue; fi
  if found_nothing; then
    echo "its time was up and it found nothing, which Go took for a failure: once more"
    if fuzz "$name" "$package"; then continue; fi
  fi
  failed+=("$package $name")
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
