#!/usr/bin/env bash
# Prints the licence texts of programs and of all that they are built from, for the platform of GOOS and GOARCH. A module
# without a licence is an error.
#
#   hack/licenses.sh PACKAGE...
set -euo pipefail
shopt -s nullglob nocaseglob nocasematch
export CGO_ENABLED=0

# Each module's name, its root, and the folders of its packages, up to the root.
folders=$(
  {
    go list -deps -f $'{{with .Module}}{{.Path}}{{with .Version}}@{{.}}{{end}}\t{{.Dir}}\t{{$.Dir}}{{end}}' "$@"
    go env GOVERSION GOROOT | paste -s -d '\t' | sed 's/^\(.*\)\t\(.*\)$/Go \1\t\2\t\2/'
  } | awk -F '\t' 'NF {
    for (folder = $3; length(folder) > length($2); sub("/[^/]*$", "", folder)) print $1 FS $2 FS folder
    print $1 FS $2 FS $2
  }' | LC_ALL=C sort -u
)

module='' licensed=true
# begins checks that the module before has a licence.
begins() { # NAME
  $licensed || { echo "module $module has no licence file" >&2; exit 1; }
  module=$1 licensed=false
}
while IFS=$'\t' read -r name root folder; do
  [[ $name == "$module" ]] || begins "$name"
  # A pattern without brackets would be no pattern, and fit one case only.
  for file in "$folder"/{licen[cs]e,unlicens[e],copyin[g],notic[e],patent[s]}{,[-.]*}; do
    if [[ -f $file && $file != *.go ]]; then
      printf '\n==== %s%s\n\n' "$name" "${file#"$root"}"
      cat "$file"
      [[ ${file##*/} == @(notice|patents)* ]] || licensed=true
    fi
  done
done <<<"$folders"
begins ''
