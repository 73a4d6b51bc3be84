#!/bin/bash
# pki.sh NODE... : certificate authorities, certificates and kubeconfigs below $STATE (EC P-256, one year).
# Makes what is missing and keeps what is there, so that a node can be added later. A file appears whole or not at all.
set -euo pipefail
umask 077
mkdir -p "$STATE/pki" "$STATE/kubeconfig"
cd "$STATE/pki"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

quietly() { "$@" 2>"$scratch/error" || { cat "$scratch/error" >&2; return 1; }; }
key() { quietly openssl ecparam -name prime256v1 -genkey -noout -out "$scratch/key"; }

ca() { # NAME
  [ -s "$1.crt" ] && return
  key
  quietly openssl req -x509 -new -key "$scratch/key" -subj "/CN=$1" -days 365 -out "$scratch/crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  mv "$scratch/key" "$1.key"
  mv "$scratch/crt" "$1.crt"
}

certificate() { # NAME AUTHORITY SUBJECT USAGE [ALTERNATIVE-NAMES]
  [ -s "$1.crt" ] && return
  key
  quietly openssl req -new -key "$scratch/key" -subj "$3" -out "$scratch/csr"
  {
    echo "basicConstraints=CA:FALSE"
    echo "keyUsage=critical,digitalSignature,keyEncipherment"
    echo "extendedKeyUsage=$4"
    if [ -n "${5:-}" ]; then echo "subjectAltName=$5"; fi
  } >"$scratch/ext"
  quietly openssl x509 -req -in "$scratch/csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 365 \
    -extfile "$scratch/ext" -out "$scratch/crt"
  mv "$scratch/key" "$1.key"
  mv "$scratch/crt" "$1.crt"
}

kubeconfig() { # NAME
  cat >"$scratch/kubeconfig" <<X
apiVersion: v1
kind: Config
clusters: [{name: supercargo-dev, cluster: {server: "https://$API", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: supercargo-dev, context: {cluster: supercargo-dev, user: $1}}]
current-context: supercargo-dev
X
  mv "$scratch/kubeconfig" "$STATE/kubeconfig/$1"
}

client() { # NAME SUBJECT
  certificate "$1" ca "$2" clientAuth
  kubeconfig "$1"
}

ca ca
ca front-proxy-ca
if ! [ -s sa.pub ]; then # signs ServiceAccount tokens; RSA, as clusters out there have it
  quietly openssl genrsa -out sa.key 2048
  quietly openssl rsa -in sa.key -pubout -out "$scratch/sa.pub"
  mv "$scratch/sa.pub" sa.pub
fi
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
certificate apiserver ca /CN=kube-apiserver serverAuth "$names,DNS:localhost,IP:127.0.0.1,IP:${API%:*},IP:$API_SERVICE"
certificate apiserver-kubelet ca /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
certificate front-proxy front-proxy-ca /CN=front-proxy-client clientAuth
client admin /O=system:masters/CN=admin
client kcm /CN=system:kube-controller-manager
client scheduler /CN=system:kube-scheduler
client proxy /CN=system:kube-proxy
for node in "$@"; do
  client "node$node" "/O=system:nodes/CN=system:node:node$node"
  certificate "node$node-serving" ca "/O=system:nodes/CN=system:node:node$node" serverAuth "DNS:node$node,IP:${HOST%.*}.$((node + 1))"
done
