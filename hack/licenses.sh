#!/usr/bin/env bash
# Prints the licence texts of programs and of all that they are built from, for the platform of GOOS and GOARCH. A module
# without a licence is an error.
#
#   hack/licenses.sh PACKAGE...
set -euo pipefail
shopt -s nullglob nocaseglob
export CGO_ENABLED=0

# texts prints the licences and notices of a module: those in the folders of its packages, up to its root.
texts() { # NAME ROOT FOLDER...
  local name=$1 root=$2 folder file
  for folder in "${@:3}"; do
    for (( ; ${#folder} > ${#root}; )); do
      echo "$folder"
      folder=${folder%/*}
    done
    echo "$root"
  done | sort -u | while read -r folder; do
    # A pattern without brackets would be no pattern, and fit one case only.
    for file in "$folder"/{licen[cs]e,unlicens[e],copyin[g],notic[e],patent[s]}{,[-.]*}; do
      if [[ -f $file && $file != *.go ]]; then
        printf '\n==== %s%s\n\n' "$name" "${file#"$root"}"
        cat "$file"
      fi
    done
  done
}

listed=$(go list -deps -f $'{{with .Module}}{{.Path}}{{with .Version}}@{{.}}{{end}}\t{{.Dir}}\t{{$.Dir}}{{end}}' "$@" | sort -u)
while IFS=$'\t' read -r name root; do
  mapfile -t folders < <(awk -F '\t' -v name="$name" '$1 == name {print $3}' <<<"$listed")
  text=$(texts "$name" "$root" "${folders[@]}")
  grep -qiE '^==== .*/(licen[cs]e|unlicense|copying)' <<<"$text" || { echo "module $name has no licence file" >&2; exit 1; }
  printf '%s\n' "$text"
done < <(cut -f 1,2 <<<"$listed" | sort -u)
texts "Go $(go env GOVERSION)" "$(go env GOROOT)" "$(go env GOROOT)"
