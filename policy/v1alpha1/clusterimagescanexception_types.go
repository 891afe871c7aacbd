package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ClusterImageScanExceptionKind is the kind of an exception for the whole cluster.
const ClusterImageScanExceptionKind = "ClusterImageScanException"

// ClusterImageScanException allows named images in every namespace although they
// violate named policies, for a reason, until a time. Otherwise it is like an
// ImageScanException, which is for one namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clusterimagescanexceptions,singular=clusterimagescanexception,scope=Cluster,shortName=cise,categories={security,hssgate}
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Whether the exception allows anything: Active, Expired or Invalid"
// +kubebuilder:printcolumn:name="Until",type=string,JSONPath=`.status.activeUntil`,description="When the exception ends"
// +kubebuilder:printcolumn:name="Uses",type=integer,JSONPath=`.status.uses`,description="How often the exception allowed an object"
// +kubebuilder:printcolumn:name="Last used",type=date,JSONPath=`.status.lastUsed`,description="Time since it last allowed an object"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Effective",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Effective")].reason`,description="Why the exception has no effect; empty: it has one"
// +kubebuilder:printcolumn:name="Policies",type=string,priority=1,JSONPath=`.spec.policies`,description="The policies that the images may violate"
// +kubebuilder:printcolumn:name="Images",type=string,priority=1,JSONPath=`.spec.images`,description="The images that are allowed"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`,description="Why"
type ClusterImageScanException struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageScanExceptionSpec `json:"spec"`
	// +optional
	Status ImageScanExceptionStatus `json:"status,omitzero"`
}

// ClusterImageScanExceptionList is a list of exceptions for the whole cluster.
//
// +kubebuilder:object:root=true
type ClusterImageScanExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterImageScanException `json:"items"`
}

// Exception returns e as an ImageScanException with the kind of e, so that both kinds
// share their code. It shares the spec and the status.
func (e *ClusterImageScanException) Exception() *ImageScanException {
	shared := ImageScanException(*e)
	shared.Kind = ClusterImageScanExceptionKind
	return &shared
}

// ClusterWide reports whether e is one for the whole cluster, by its kind.
func (e *ImageScanException) ClusterWide() bool { return e.Kind == ClusterImageScanExceptionKind }

// Object returns e as the type of its kind, for clients of the API server.
func (e *ImageScanException) Object() interface {
	metav1.Object
	runtime.Object
} {
	if e.ClusterWide() {
		return (*ClusterImageScanException)(e)
	}
	return e
}
