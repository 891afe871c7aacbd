// Package image finds the images that a Kubernetes object names and parses
// their references.
//
// An object names images in the containers, init containers, ephemeral
// containers and image volumes of a pod, or of the pod template of a workload.
// hssgate looks at every one of these places, and reads references as a
// container runtime does, so that what it evaluates is what a node will pull.
package image
