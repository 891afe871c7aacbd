#!/usr/bin/env bash
# Creates the certificates and kubeconfigs of the node, once: pki.sh FOLDER
set -euo pipefail
mkdir -p "$1"
cd "$1"
[[ ! -e done ]] || exit 0

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }

# certificate NAME SUBJECT USAGE [ALTERNATIVE NAMES]
certificate() {
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n%s\n' "$3" "${4:+subjectAltName=$4}" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

# user NAME SUBJECT: a client certificate, and a kubeconfig with it
user() {
  certificate "$1" "$2" clientAuth
  cat > "$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://10.89.0.2:6443", certificate-authority: $PWD/ca.crt}}]
users: [{name: me, user: {client-certificate: $PWD/$1.crt, client-key: $PWD/$1.key}}]
contexts: [{name: node, context: {cluster: node, user: me}}]
current-context: node
K
}

key ca
openssl req -x509 -new -key ca.key -subj /CN=ca -days 3650 -out ca.crt -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
service=DNS:kubernetes.default
certificate apiserver /CN=kube-apiserver serverAuth "DNS:kubernetes,$service,$service.svc,$service.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.89.0.2,IP:10.96.0.1"
certificate kubelet-serving /CN=node1 serverAuth DNS:node1,IP:10.89.0.2
certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
user admin /O=system:masters/CN=admin
user controller-manager /CN=system:kube-controller-manager
user scheduler /CN=system:kube-scheduler
user kubelet /O=system:nodes/CN=system:node:node1
user kube-proxy /CN=system:kube-proxy
key sa
openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
touch done
