#!/usr/bin/env bash
# Installs Chromium for `make test-browser`, where there is none: on Debian and its kin, as root.
set -euo pipefail
if command -v "${CHROMIUM:-chromium}" >/dev/null; then exit 0; fi
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
  echo "there is no Chromium, and only root on a system with apt-get can install it here: install it, or set CHROMIUM" >&2
  exit 1
fi
patient=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=5)
apt-get "${patient[@]}" update -qq
DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -y -qq --no-install-recommends chromium >/dev/null
chromium --version
