// Package controller keeps the policies in force: it compiles each as it
// changes, tells the gate, and writes into the policy's status whether it is in
// force as it is written.
//
// Every replica compiles; only the elected leader writes.
package controller
