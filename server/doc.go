// Package server puts the parts of hssgate together: policies that follow the
// cluster, what HSS knows, the gate, and the webhook that serves its decisions.
// "hssgate serve" runs it.
package server
