#!/usr/bin/env bash
# verify-binary.sh FILE: checks that a release binary is static, under 80 MB and without test code, since its image holds nothing else.
set -euo pipefail
file=$1

size=$(stat -c %s "$file")
((size < 80000000)) || { echo "$file has $size bytes, allowed are fewer than 80000000" >&2; exit 1; }

[[ $(ldd "$file" 2>&1 || true) == *"not a dynamic executable"* ]] || { echo "$file is not a static binary" >&2; exit 1; }

# Names of functions stay in a stripped binary.
for name in 'testing.(*T).' net/http/httptest. k8s.io/client-go/testing. controller-runtime/pkg/envtest. hss/hsstest.; do
  if grep --quiet --text --fixed-strings "$name" "$file"; then
    echo "$file contains test code: a function of $name" >&2
    exit 1
  fi
done
echo "$file is static and has $((size / 1000000)) MB"
