// Package e2e holds no code, only tests of hssgate as an operator meets it: the
// program itself, run as a child process, evaluates what a real API server sends
// it by what a server that behaves like HSS says. `make controlplane` builds
// what they need.
package e2e
