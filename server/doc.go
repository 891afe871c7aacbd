// Package server puts the parts of hssgate together: policies that follow the
// cluster, what HSS knows, the gate, and the webhook that serves its decisions.
//
// "hssgate serve" runs it in a cluster, and "hssgate demo" before an API server
// of its own, so that what the demonstration shows is what serves.
package server
