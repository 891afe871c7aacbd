#!/usr/bin/env bash
# A Kubernetes cluster of one real node, for tests: etcd, API server, controllers, scheduler, kubelet, kube-proxy,
# containerd, runc, CNI bridge, CoreDNS and a registry, in namespaces and cgroups of their own on this machine. Needs root.
#
#   node.sh up                       starts the node and waits until it is ready
#   node.sh exec COMMAND...          runs a command on it, with KUBECONFIG set
#   node.sh kill SIGNAL SERVICE...   sends a signal to services: registry, etcd, kube-apiserver, kube-controller-manager,
#                                    kube-scheduler, containerd, kubelet, kube-proxy; waits for their end after KILL and TERM
#   node.sh start SERVICE...         starts services that have ended
#   node.sh down                     cuts its power: every process ends at once, the disk stays, and `up` is a reboot
#   node.sh wipe                     down, and deletes the disk
#   node.sh run                      up, and wipe when its standard input is closed, however the process that holds it ends
#   node.sh pid                      prints the process ID of the node's first process
#
# NODE_NAME (hssgate-node) is the name of its cgroups, NODE_DATA (.cache/node/data) the folder with its disk and logs. With
# other values for both, several nodes run beside each other. Build what it runs with `make node`.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
NODE_NAME=${NODE_NAME:-hssgate-node}
NODE_DATA=${NODE_DATA:-$ROOT/.cache/node/data}
NODE_BIN=$ROOT/.cache/node/bin
PATH=$NODE_BIN:$ROOT/.cache/controlplane/bin:$ROOT/.cache/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export HERE NODE_NAME NODE_DATA NODE_BIN PATH

cgroups=/sys/fs/cgroup

# cgroup_dirs prints the node's folder in each hierarchy of cgroups: one with v2, one per controller with v1.
cgroup_dirs() {
  if [[ $(stat -fc %T "$cgroups") == cgroup2fs ]]; then
    echo "$cgroups/$NODE_NAME"
  else
    awk -F: -v root="$cgroups" -v name="$NODE_NAME" '$2 != "" {sub("^name=", "", $2); print root "/" $2 "/" name}' /proc/self/cgroup
  fi
}

# hand_down lets the cgroups below a folder use the controllers that a node needs (v2).
hand_down() { echo "+cpuset +cpu +io +memory +pids" > "$1/cgroup.subtree_control"; }

make_cgroups() {
  local dir process
  if [[ $(stat -fc %T "$cgroups") == cgroup2fs ]]; then
    if ! hand_down "$cgroups" 2>/dev/null; then
      # This is a container: only a cgroup without processes may hand controllers down, so they move into one below.
      mkdir -p "$cgroups/host"
      while read -r process; do echo "$process" > "$cgroups/host/cgroup.procs" 2>/dev/null || true; done < "$cgroups/cgroup.procs"
      hand_down "$cgroups"
    fi
    mkdir -p "$cgroups/$NODE_NAME/services"
    return
  fi
  for dir in $(cgroup_dirs); do
    mkdir -p "$dir"
    if [[ -e $dir/cpuset.cpus ]]; then # a new cpuset is empty, and takes no process
      cat "$(dirname "$dir")/cpuset.cpus" > "$dir/cpuset.cpus"
      cat "$(dirname "$dir")/cpuset.mems" > "$dir/cpuset.mems"
      echo 1 > "$dir/cgroup.clone_children"
    fi
  done
}

remove_cgroups() {
  local dir
  for dir in $(cgroup_dirs); do
    for _ in $(seq 100); do # the kernel takes a moment to forget the processes
      [[ -d $dir ]] && ! find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || break
      sleep 0.1
    done
  done
}

# boot becomes the node's first process. The root of a new cgroup namespace is the cgroup of the process that makes it.
boot() {
  local dir
  echo $BASHPID > "$NODE_DATA/pid"
  for dir in $(cgroup_dirs); do echo $BASHPID > "$dir/cgroup.procs"; done
  exec unshare --cgroup "$0" boot-in-cgroup
}

boot_in_cgroup() {
  local dir=$cgroups/$NODE_NAME
  if [[ -d $dir/services ]]; then # v2: the processes move down, since the node's root hands controllers down, too
    echo $$ > "$dir/services/cgroup.procs"
    hand_down "$dir"
  fi
  exec unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private "$HERE/init.sh"
}

# first prints the ID of the node's first process, as seen from here.
first() { local parent; parent=$(cat "$NODE_DATA/pid" 2>/dev/null) && [[ -d /proc/$parent ]] && pgrep -P "$parent" -o; }

inside() {
  local pid
  pid=$(first) || { echo "the node is not running: node.sh up" >&2; return 1; }
  nsenter -t "$pid" --net --mount --pid --uts --ipc --cgroup --wd="$PWD" -- env KUBECONFIG="$NODE_DATA/pki/admin.kubeconfig" "$@"
}

up() {
  if first >/dev/null; then echo "the node runs already" >&2; return 1; fi
  mkdir -p "$NODE_DATA"/{log,var-lib,var-log,etc,static-pods}
  rm -f "$NODE_DATA/ready"
  "$HERE/pki.sh" "$NODE_DATA/pki"
  cp -r "$HERE/etc/." "$NODE_DATA/etc/"
  find "$NODE_DATA/etc" -type f -exec sed -i "s|@DATA@|$NODE_DATA|g" {} +
  modprobe -qa br_netfilter overlay 2>/dev/null || true # built into some kernels
  make_cgroups
  setsid "$0" boot >> "$NODE_DATA/log/init.log" 2>&1 < /dev/null &
  for _ in $(seq 3000); do
    [[ -e $NODE_DATA/ready ]] && return
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  echo "the node did not become ready; the end of $NODE_DATA/log/init.log:" >&2
  tail -5 "$NODE_DATA/log/init.log" >&2
  down
  return 1
}

down() {
  local pid
  if pid=$(first); then
    kill -9 "$pid"
    while [[ -d /proc/$pid ]]; do sleep 0.05; done
  fi
  rm -f "$NODE_DATA/ready" "$NODE_DATA/pid"
  remove_cgroups
}

wipe() { down; rm -rf "$NODE_DATA"; }

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2; }

[[ $# -gt 0 && $1 != help ]] || usage
[[ $(id -u) == 0 ]] || { echo "node.sh needs root, for namespaces, mounts and cgroups" >&2; exit 1; }
verb=$1
shift
case $verb in
  up | down | wipe | boot) "$verb" ;;
  boot-in-cgroup) boot_in_cgroup ;;
  run)
    trap wipe EXIT
    trap '' INT
    up
    echo ready
    cat > /dev/null
    ;;
  pid) first ;;
  exec) inside "$@" ;;
  start | kill) inside "$HERE/service.sh" "$verb" "$@" ;;
  *) usage ;;
esac
