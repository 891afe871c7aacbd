package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxHistory is how many images a history holds.
const MaxHistory = 5000

// ImageScanHistory tells which images ran and passed the policy of the same
// name, and since when one does no longer: that is what the policy's grace goes
// by. hssgate's elected replica writes it, and every replica reads it, so that
// all say the same, and still do after a restart.
//
// Whoever can write it can grant a grace. It goes with the policy. To end all
// graces of a policy at once, delete it; those that pass come back into it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=imagescanhistories,singular=imagescanhistory,scope=Cluster,shortName=ish,categories=hssgate
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.metadata.name`,description="Whose it is"
// +kubebuilder:printcolumn:name="Worsened",type=string,JSONPath=`.images[*].worsenedAt`,description="Since when images that passed no longer do"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImageScanHistory struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Images are those that ran and passed, in the order of their digests. If
	// there would be more, those that passed the longest ago are left out, and
	// have no grace.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5000
	// +optional
	Images []PassedImage `json:"images,omitempty"`
}

// PassedImage is an image that ran and passed.
type PassedImage struct {
	// Digest is that of HSS's record, or of the one architecture that the pod's
	// reference named.
	// +kubebuilder:validation:MaxLength=135
	// +kubebuilder:validation:Pattern=`^sha(256:[a-f0-9]{64}|512:[a-f0-9]{128})$`
	Digest string `json:"digest"`
	// PassedAt is when an audit last saw it run and pass, give or take a tenth of
	// the policy's grace.
	PassedAt metav1.Time `json:"passedAt"`
	// WorsenedAt is when an audit first saw that it no longer passes; absent as
	// long as it does. The grace ends its period after this.
	// +optional
	WorsenedAt *metav1.Time `json:"worsenedAt,omitempty"`
}

// ImageScanHistoryList is a list of histories.
//
// +kubebuilder:object:root=true
type ImageScanHistoryList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageScanHistory `json:"items"`
}
