// Package cluster holds no code, only tests of hssgate as it is installed: the
// real Helm installs the chart in a cluster of API server, controllers,
// scheduler and simulated nodes; the pods of its Deployment are processes with
// the rights, the configuration and the probes that the chart gives them. `make
// e2e` builds what they need and runs them.
package cluster
