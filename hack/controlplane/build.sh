#!/usr/bin/env bash
# Builds the control plane that tests and `make demo CLUSTER=1` run against, and what a node needs of Kubernetes, from the
# Go modules that go.mod pins.
#
#   hack/controlplane/build.sh [NAME...]
#
# NAME is etcd, kube-apiserver, kubectl, kube-controller-manager, kube-scheduler, kubelet or kube-proxy; without one, the
# first three. Binaries go to .cache/controlplane/bin in the repository. One that was built from the same go.mod, go.sum, flags and Go
# version is left alone, so a second run takes no time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(cd "$here/../.." && pwd)/.cache/controlplane/bin
mkdir -p "$bin"
cd "$here"

version_of() { go list -m -f '{{.Version}}' "$1"; }
kubernetes=$(version_of k8s.io/kubernetes)
etcd=$(version_of go.etcd.io/etcd/server/v3)

# What the Kubernetes release scripts stamp; without it kube-apiserver calls itself v0.0.0 and refuses some feature gates.
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  minor=${kubernetes#v1.}
  ldflags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
done

stamp=$({ cat go.mod go.sum; echo "$ldflags"; go version; go env GOOS GOARCH; } | sha256sum | cut -d' ' -f1)

# build NAME PACKAGE VERSION: compiles one binary unless its stamp says that it's there already.
build() {
  local name=$1 package=$2 version=$3 started=$SECONDS
  if [[ -x $bin/$name && $(cat "$bin/.$name.stamp" 2>/dev/null) == "$stamp" ]]; then
    return
  fi
  echo "building $name $version (only the first time; all of the control plane takes about 8 minutes on 2 cores) ..."
  rm -f "$bin/.$name.stamp"
  CGO_ENABLED=0 go build -trimpath -ldflags "$ldflags" -o "$bin/$name.new" "$package"
  mv -f "$bin/$name.new" "$bin/$name"
  echo "$stamp" > "$bin/.$name.stamp"
  echo "built $name in $((SECONDS - started)) s"
}

# Two runs at once (say `make test` and `make demo`) would do the work twice; the second waits for the first.
if command -v flock >/dev/null; then
  exec 9> "$bin/.lock"
  flock 9
fi

[[ $# -gt 0 ]] || set -- etcd kube-apiserver kubectl
for name in "$@"; do
  case $name in
    etcd) build etcd go.etcd.io/etcd/server/v3 "$etcd" ;;
    kube-apiserver | kubectl | kube-controller-manager | kube-scheduler | kubelet | kube-proxy)
      build "$name" "k8s.io/kubernetes/cmd/$name" "$kubernetes" ;;
    *) echo "unknown part of the control plane: $name (allowed: etcd, kube-apiserver, kubectl, kube-controller-manager, kube-scheduler, kubelet, kube-proxy)" >&2; exit 2 ;;
  esac
done
