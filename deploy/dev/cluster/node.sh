#!/bin/bash
# node.sh : PID 1 of a node's pid, mount and uts namespaces, inside its network namespace. Node 1 also runs the control plane.
# Killing it ends every process of the node and drops every mount. Environment: see src/cluster/node.rs.
set -u
hostname "$NAME"
mkdir -p "$DIR" "$LOGS"
say() { echo "$(date +%FT%T.%3N) $*"; }
say "$NAME begins"

# Private /run (containerd's shims, CNI's namespaces, the xtables lock) and private versions of paths that the kubelet, CNI and
# containerd have built in. Propagation is shared within this namespace only.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
for dir in $MOUNT_POINTS; do
  mount -t tmpfs tmpfs "$dir"
done
# The kubelet sets these for the whole machine: show it the values it wants, and leave the machine's alone.
mkdir /run/sysctl
for wanted in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/sysctl/$(echo "${wanted%=*}" | tr / _)
  echo "${wanted#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${wanted%=*}"
done
mount --make-rshared /
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

# run COMPONENT PROGRAM...: in the background, started again when it ends. COMPONENT.pid holds its pid in this namespace.
run() {
  local component=$1
  shift
  (
    while :; do
      "$@" >>"$LOGS/$component.log" 2>&1 &
      echo $! >"$DIR/$component.pid"
      wait $!
      say "$component ended with $?"
      sleep 0.5
    done
  ) &
}
ctr() { command ctr --address /run/containerd/containerd.sock --namespace k8s.io "$@"; }
until_served() { until ctr version >/dev/null 2>&1; do sleep 0.05; done; }
api_is_ready() {
  curl --silent --output /dev/null --fail --max-time 2 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" \
    "https://$API/readyz"
}

PKI=$STATE/pki
if [ "$NAME" = node1 ]; then
  etcd=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
  run etcd etcd --name node1 --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls $etcd --advertise-client-urls $etcd \
    --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster node1=$peer
  run kube-apiserver kube-apiserver --etcd-servers=$etcd --advertise-address="${API%:*}" --secure-port="${API#*:}" \
    --service-cluster-ip-range="$SERVICES" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true --client-ca-file="$PKI/ca.crt" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key"
fi

# A kept image store still lists the containers of the cluster before: take them out before the kubelet sees them.
if [ -e "$DIR/stale-containers" ]; then
  containerd --config "$DIR/containerd.toml" >>"$LOGS/containerd.log" 2>&1 &
  until_served
  ctr containers list --quiet | while read -r container; do ctr containers delete "$container"; done
  kill $!
  wait $!
  rm "$DIR/stale-containers"
  say "containers of the cluster before removed"
fi
run containerd containerd --config "$DIR/containerd.toml"
until_served
if [ -z "$(ctr images list --quiet "name==$PAUSE")" ]; then
  ctr images import "$PAUSE_ARCHIVE" || say "the pause image could not be imported"
fi

say "waiting for the API server"
until api_is_ready; do sleep 0.1; done
say "the API server is ready"
if [ "$NAME" = node1 ]; then
  config=$STATE/kubeconfig/kcm
  run kube-controller-manager kube-controller-manager --kubeconfig="$config" --authentication-kubeconfig="$config" \
    --authorization-kubeconfig="$config" --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --kube-api-qps=500 --kube-api-burst=1000 --pvclaimbinder-sync-period=1s --flex-volume-plugin-dir="$DIR/volumeplugins"
  config=$STATE/kubeconfig/scheduler
  run kube-scheduler kube-scheduler --kubeconfig="$config" --authentication-kubeconfig="$config" \
    --authorization-kubeconfig="$config" --bind-address=127.0.0.1 --leader-elect=false
fi
run kubelet kubelet --config="$DIR/kubelet.yaml" --kubeconfig="$STATE/kubeconfig/$NAME" --root-dir="$DIR/kubelet" \
  --cert-dir="$DIR/kubelet-pki" --hostname-override="$NAME" --node-ip="$ADDRESS"
run kube-proxy kube-proxy --config="$DIR/kube-proxy.yaml"
wait
