// Package check asks the gate about images, manifests and the pods of a
// cluster, without an admission request: in a pipeline before anything is
// applied, or in a cluster before anything is enforced.
//
// It makes the same requests that the webhook makes, of the same gate, so that
// what it says is what the webhook would answer. Each object is judged as if it
// were created: all its images count.
package check
