// Package faults holds tests only: they put faults between hssgate and HSS, by
// Toxiproxy on the network and by hsstest behind it, while reviews keep coming,
// and compare each answer with a computation of its own. It is a module of its
// own, so that Toxiproxy and what it brings in are no dependencies of hssgate.
// Run them with "go test ./..." in this directory.
package faults
