// Package certificate makes the serving certificate of a gate that is given
// none: an authority of its own, and certificates from it that are renewed in
// memory, ahead of their end, without a restart.
package certificate
