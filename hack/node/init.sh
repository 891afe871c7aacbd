#!/usr/bin/env bash
# The first process of the node that node.sh starts: mounts, network, then services.
set -euo pipefail
hostname node1

# Its own /run, /sys, cgroups (their root is the node's), /var/lib and /var/log.
v2=$(stat -fc %T /sys/fs/cgroup)
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns /run/sysctl
mount -t sysfs sysfs /sys
if [[ $v2 == cgroup2fs ]]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  awk -F: '$2 != "" {print $2}' /proc/self/cgroup | while read -r controllers; do
    options=$controllers
    [[ $controllers != name=* ]] || options=none,$controllers
    mkdir -p "/sys/fs/cgroup/${controllers#name=}"
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/${controllers#name=}"
  done
fi
mount --bind "$NODE_DATA/var-lib" /var/lib
mount --bind "$NODE_DATA/var-log" /var/log
# kubelet sets these for the whole kernel; files in their place keep it from that.
while read -r name value; do
  file=/run/sysctl/${name//\//.}
  echo "$value" > "$file"
  mount --bind "$file" "/proc/sys/$name"
done <<'S'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
S
mount --make-rshared /

# A network that leads nowhere. Without a default route, nothing on the node itself would have one to a ClusterIP.
ip link set lo up
ip link add eth0 type veth peer name wire
ip link set wire up
ip addr add 10.89.0.2/24 dev eth0
ip link set eth0 up
ip route add default via 10.89.0.1 dev eth0
sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1

export KUBECONFIG=$NODE_DATA/pki/admin.kubeconfig

# retry runs a command until it succeeds, for five minutes at most.
retry() {
  for _ in $(seq 1500); do
    "$@" > /dev/null 2>&1 && return
    sleep 0.2
  done
  echo "still failing after five minutes: $*" >&2
  return 1
}
node_ready() { kubectl wait --for=condition=Ready node/node1 --timeout=5s; }
push() { image -f "$HERE/$1/Dockerfile" -bin "$NODE_BIN" -push "127.0.0.1:5000/$2" > /dev/null; }

"$HERE/service.sh" start registry etcd containerd
retry curl -fsS http://127.0.0.1:5000/v2/
push pause pause:3.10
push coredns coredns/coredns:v1.15.0
retry curl -fsS http://127.0.0.1:2379/health
"$HERE/service.sh" start kube-apiserver
retry kubectl get --raw /readyz
retry test -S /run/containerd/containerd.sock
"$HERE/service.sh" start kube-controller-manager kube-scheduler kubelet kube-proxy
retry kubectl -n kube-system get serviceaccount default
retry kubectl apply -f "$HERE/coredns/coredns.yaml"
retry kubectl -n default get serviceaccount default
retry node_ready
touch "$NODE_DATA/ready"

# The shell reaps what is orphaned, until it is killed.
while :; do
  sleep 3600 &
  wait $! || true
done
