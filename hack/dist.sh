#!/usr/bin/env bash
# Builds the files of a release: for each platform the program, the licences of what is in it, and an archive of both; the
# manifest by which krew installs the archives; the CRDs; SHA256SUMS of all. The same commit gives the same files.
#
#   GO_BUILD="go build …" VERSION=v1.2.3 hack/dist.sh FOLDER PLATFORM...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dist=$1
shift
rm -rf "$dist"
mkdir -p "$dist"
cp charts/hssgate/files/crds/*.yaml "$dist/"
sed "s/{{ \.TagName }}/$VERSION/g" .krew.yaml > "$dist/hssgate.yaml"
for platform in "$@"; do
  export GOOS=${platform%/*} GOARCH=${platform#*/}
  name=hssgate-$GOOS-$GOARCH
  suffix=
  if [[ $GOOS == windows ]]; then suffix=.exe; fi
  archived=$(mktemp -d)
  bash -c "$GO_BUILD -o '$archived/hssgate$suffix' ./cmd/hssgate"
  hack/licenses.sh ./cmd/hssgate > "$archived/LICENSES.txt"
  cp LICENSE "$archived/"
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u+rw,go=rX -C "$archived" . | gzip -n > "$dist/$name.tar.gz"
  mv "$archived/hssgate$suffix" "$dist/$name$suffix"
  mv "$archived/LICENSES.txt" "$dist/$name-licenses.txt"
  rm -r "$archived"
  sum=$(sha256sum "$dist/$name.tar.gz" | cut -d ' ' -f 1)
  sed -i "s|{{addURIAndSha \"\(.*/$name.tar.gz\)\" .TagName }}|uri: \1\n    sha256: $sum|" "$dist/hssgate.yaml"
done
(cd "$dist" && sha256sum -- * > SHA256SUMS)
