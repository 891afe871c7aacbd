// Package v1alpha1 holds the custom resources of the API group hssgate.io.
//
// The CustomResourceDefinitions under charts/hssgate are generated from these
// types, and so is the policy reference in docs: a comment here is what an
// operator reads there.
//
// +kubebuilder:object:generate=true
// +groupName=hssgate.io
package v1alpha1
