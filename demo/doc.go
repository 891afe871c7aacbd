// Package demo shows hssgate at work. It serves a sample inventory as HSS
// would, runs the real webhook over TLS, and sends it the sample manifests:
// itself, as an API server does, or through a real API server with the real
// kubectl. It then compares each verdict with the one that the sample expects.
//
// A folder of samples holds:
//
//	config.yaml       registries and projects; the project's HSS is replaced. May be left out.
//	inventory.yaml    what HSS knows; see package hsstest
//	policies/*.yaml   ImageScanPolicies
//	manifests/*.yaml  pods and workloads, and the namespaces that they need
//
// The annotations of a manifest say what to expect:
//
//	demo.hssgate.io/verdict: Admitted, Denied or Warned (required)
//	demo.hssgate.io/says: a part of what is said (optional)
//
// A second document of the same object in a file is an update of it; one that
// adds ephemeral containers is an update of that subresource.
package demo
