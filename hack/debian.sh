#!/usr/bin/env bash
# Installs, on Debian and its kin as root, what `make e2e` (a node), `make image` (CA certificates), `make test-browser`
# (Chromium) and `make site` (Node.js) need besides Go, make and a C compiler, unless it is there, from whichever package.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
while read -r package needed; do
  [[ -e $needed ]] || command -v "$needed" >/dev/null || missing+=("$package")
done <<P
busybox-static /bin/busybox
ca-certificates /etc/ssl/certs/ca-certificates.crt
chromium ${CHROMIUM:-chromium}
containernetworking-plugins /usr/lib/cni/bridge
curl curl
iproute2 ip
kmod modprobe
nftables nft
nodejs node
npm npm
openssl openssl
procps pgrep
runc runc
P
[[ ${#missing[@]} -gt 0 ]] || exit 0
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
  echo "only root on a system with apt-get can install ${missing[*]} here: install them, or something like them" >&2
  exit 1
fi
patient=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=5)
apt-get "${patient[@]}" update -qq
DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "installed ${missing[*]}"
