// Package cluster holds no code, only tests of hssgate as users install it: its
// image and its chart, from a registry, on a real node (hack/node) with kubelet,
// containerd and kube-proxy. `make e2e` builds what they need and runs them as
// root.
//
// A scenario is a function of a *testing.T and the *cluster, listed in
// TestCluster. Each starts with cluster.enforce, which installs hssgate if the
// scenario before left it otherwise, and ends with hssgate installed or not, as
// it likes; what it creates lives in namespaces of its own (cluster.namespace).
// It waits with eventually, never for a time. cluster.load counts the failed
// reviews of a steady load, kubectl and helm run on the node, and control runs a
// verb of node.sh, such as kill and start for a service, or down for a power cut.
//
// Nothing here enforces a NetworkPolicy.
//
// To work on a scenario, keep a node running and run only that one:
//
//	export NODE_NAME=mine NODE_DATA=/tmp/mine
//	hack/node/node.sh up
//	go test -count=1 -v ./test/cluster -run 'TestCluster/rolling'
//	hack/node/node.sh wipe
package cluster
