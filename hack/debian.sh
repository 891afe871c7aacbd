#!/usr/bin/env bash
# Installs, on Debian and its kin as root, what `make e2e` (a node), `make image` (CA certificates, time zones) and
# `make test-browser` (Chromium) need besides Go, make and a C compiler.
set -euo pipefail

packages=(busybox-static ca-certificates containernetworking-plugins curl iproute2 kmod nftables openssl procps runc tzdata)
command -v "${CHROMIUM:-chromium}" >/dev/null || packages+=(chromium)

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
  echo "only root on a system with apt-get can install ${missing[*]} here: install them, or something like them" >&2
  exit 1
fi
patient=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=5)
apt-get "${patient[@]}" update -qq
DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "installed ${missing[*]}"
