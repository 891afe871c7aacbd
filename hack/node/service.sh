#!/usr/bin/env bash
# Starts services of the node, or sends them signals; runs on the node: service.sh start SERVICE..., service.sh kill SIGNAL SERVICE...
set -euo pipefail
unset KUBECONFIG
pki=$NODE_DATA/pki

# kubeconfigs prints the flags by which a component finds the API server and authenticates those who call it.
kubeconfigs() { echo "--kubeconfig=$pki/$1.kubeconfig --authentication-kubeconfig=$pki/$1.kubeconfig --authorization-kubeconfig=$pki/$1.kubeconfig"; }

# The default of 20 or 50 requests a second is slow for thousands of pods.
fast=(--kube-api-qps=1000 --kube-api-burst=2000)

start() {
  local name=$1
  local -a arguments
  # shellcheck disable=SC2207
  case $name in
    registry) arguments=(serve "$NODE_DATA/etc/registry.yaml") ;;
    etcd)
      arguments=(--name=node1 --data-dir=/var/lib/etcd --log-level=warn --listen-client-urls=http://127.0.0.1:2379
        --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380) ;;
    kube-apiserver)
      arguments=(--etcd-servers=http://127.0.0.1:2379 --advertise-address=10.89.0.2 --service-cluster-ip-range=10.96.0.0/16
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged --profiling=false
        "--client-ca-file=$pki/ca.crt" "--tls-cert-file=$pki/apiserver.crt" "--tls-private-key-file=$pki/apiserver.key"
        "--kubelet-certificate-authority=$pki/ca.crt" --kubelet-preferred-address-types=InternalIP
        "--kubelet-client-certificate=$pki/apiserver-kubelet-client.crt" "--kubelet-client-key=$pki/apiserver-kubelet-client.key"
        --service-account-issuer=https://kubernetes.default.svc.cluster.local
        "--service-account-key-file=$pki/sa.pub" "--service-account-signing-key-file=$pki/sa.key"
        "--audit-policy-file=$NODE_DATA/etc/audit.yaml" "--audit-log-path=$NODE_DATA/log/audit.log") ;;
    kube-controller-manager)
      arguments=($(kubeconfigs controller-manager) --use-service-account-credentials --leader-elect=false
        "--service-account-private-key-file=$pki/sa.key" "--root-ca-file=$pki/ca.crt"
        "--cluster-signing-cert-file=$pki/ca.crt" "--cluster-signing-key-file=$pki/ca.key"
        --allocate-node-cidrs --cluster-cidr=10.244.0.0/16 --node-cidr-mask-size=24 "${fast[@]}") ;;
    kube-scheduler) arguments=($(kubeconfigs scheduler) --leader-elect=false "${fast[@]}") ;;
    containerd) arguments=(--config "$NODE_DATA/etc/containerd.toml") ;;
    kubelet)
      arguments=("--config=$NODE_DATA/etc/kubelet.yaml" "--kubeconfig=$pki/kubelet.kubeconfig" --hostname-override=node1
        --node-ip=10.89.0.2) ;;
    kube-proxy) arguments=("--config=$NODE_DATA/etc/kube-proxy.yaml") ;;
    *) echo "unknown service $name" >&2; return 1 ;;
  esac
  launch "$name" "${arguments[@]}"
  # kubelet ends if containerd is still starting. On a usual node systemd starts it again.
  [[ $name == kubelet ]] || return 0
  for _ in $(seq 1500); do
    ! curl -fsS http://127.0.0.1:10248/healthz > /dev/null 2>&1 || return 0
    running "$(< /run/kubelet.pid)" || launch "$name" "${arguments[@]}"
    sleep 0.2
  done
  echo "kubelet is not healthy after five minutes" >&2
  return 1
}

launch() {
  setsid "$@" >> "$NODE_DATA/log/$1.log" 2>&1 < /dev/null &
  echo $! > "/run/$1.pid"
}

running() { [[ -e /proc/$1 && $(awk '$1 == "State:" {print $2}' "/proc/$1/status" 2>/dev/null) != Z ]]; }

send() {
  local signal=$1 pid
  pid=$(< "/run/$2.pid")
  kill -s "$signal" "$pid"
  [[ $signal == KILL || $signal == TERM ]] || return 0
  while running "$pid"; do sleep 0.05; done
}

verb=$1
shift
case $verb in
  start) for name in "$@"; do start "$name"; done ;;
  kill)
    signal=$1
    shift
    for name in "$@"; do send "$signal" "$name"; done
    ;;
esac
