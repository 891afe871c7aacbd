package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GraceLabel labels an exception that hssgate writes itself, for an image that
// passed a policy with a grace and no longer does. Its value is the policy's name.
// Such an exception covers what Grace covers, and tags of the digest too.
const GraceLabel = "hssgate.io/grace"

// Permission is whether exceptions count for a policy.
//
// +kubebuilder:validation:Enum=Allow;Forbid
type Permission string

// The permissions.
const (
	// PermissionAllow lets exceptions admit images.
	PermissionAllow Permission = "Allow"
	// PermissionForbid makes every exception ineffective.
	PermissionForbid Permission = "Forbid"
)

// ImageScanExceptionSpec is which images are allowed in spite of which policies,
// why, and until when.
type ImageScanExceptionSpec struct {
	// Images are the images that are allowed: globs over host/path of the normalised
	// reference (* stays within a path segment, ** crosses slashes), or digests
	// (sha256:…), which fit only references that name this digest.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('://')",message="leave out the scheme: a glob is matched against host/path, such as registry.example.com/team/**"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('@')",message="name either a glob over host/path or a digest, sha256:…, not both in one"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('sha256:') || self.matches('^sha256:[0-9a-f]{64}$')",message="a digest must be sha256: and 64 hexadecimal digits in lower case"
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('sha256:') || !self.matches(':[^/]*$')",message="leave out the tag: a glob is matched against host/path"
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('sha256:') || self.contains('/') || self.contains('**')",message="must name host and path, such as docker.io/library/nginx or registry.example.com/**, or a digest, sha256:…"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="must not have an empty part between slashes"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('***')",message="use * within a path segment or ** across slashes"
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('sha256:') || self.matches('^(localhost|[^/]*[.:*][^/]*)(/|$)')",message="must begin with the registry's host, such as docker.io/library/nginx"
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[]A-Za-z0-9.:_*[-]+(/[a-z0-9._*/-]*)?$')",message="may hold only letters, digits, '.', '_', '-', '/', '*' and, in the host, ':', '[' and ']'; a path is lower-case"
	Images []string `json:"images"`
	// Policies are the names of the ImageScanPolicies that the images may violate. The
	// exception has no effect on a policy with exceptions: Forbid.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be the name of an ImageScanPolicy, such as production: there are no wildcards"
	Policies []string `json:"policies"`
	// Vulnerabilities narrows the exception to findings that are explained by
	// these vulnerabilities alone, by their CVE IDs or their identifiers as HSS
	// lists them: an image with another one on top, or with malicious files, still
	// fails. An advisory is explained by CVE IDs only if all of its CVEs are listed.
	// Where HSS does not list the vulnerabilities of an image, nothing is explained.
	// Empty: every finding.
	// +optional
	Vulnerabilities VulnerabilityIDs `json:"vulnerabilities,omitempty"`
	// Reason is why, in one line for the readers of audit logs.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('[^[:space:]]')",message="must say why"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[[:cntrl:]]')",message="must be one line without control characters"
	Reason string `json:"reason"`
	// ExpiresAt is when the exception ends, such as 2027-01-31T18:00:00Z. It ends
	// sooner if that is later than the longest lifetime that hssgate's
	// configuration allows, counted from its creation: to prolong an exception,
	// create a new one.
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// Condition types of an exception, besides Ready.
const (
	// ConditionExpiring is True from some time before an exception's end. Of a policy,
	// it is True from some time before the end of an ignored vulnerability, and absent
	// otherwise.
	ConditionExpiring = "Expiring"
)

// ImageScanExceptionStatus is the observed state of an exception.
type ImageScanExceptionStatus struct {
	// ObservedGeneration is the generation that Conditions describe.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready reports whether the exception allows anything, with reason
	// Active, Expired or Invalid; Expiring, whether it ends soon. Effective is
	// False if it names a policy that does not exist, or can have no effect.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// ActiveUntil is when the exception ends: expiresAt, or the end of the
	// longest lifetime that hssgate's configuration allows.
	// +optional
	ActiveUntil *metav1.Time `json:"activeUntil,omitempty"`
	// Uses is how often the exception allowed an object. It is written once a
	// minute, and what a replica counted before a crash is lost.
	// +optional
	Uses int64 `json:"uses,omitempty"`
	// LastUsed is when the exception last allowed an object.
	// +optional
	LastUsed *metav1.Time `json:"lastUsed,omitempty"`
}

// ImageScanException allows named images in its namespace although they violate
// named policies, for a reason, until a time.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=imagescanexceptions,singular=imagescanexception,scope=Namespaced,shortName=ise,categories={security,hssgate}
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Whether the exception allows anything: Active, Expired or Invalid"
// +kubebuilder:printcolumn:name="Until",type=string,JSONPath=`.status.activeUntil`,description="When the exception ends"
// +kubebuilder:printcolumn:name="Uses",type=integer,JSONPath=`.status.uses`,description="How often the exception allowed an object"
// +kubebuilder:printcolumn:name="Last used",type=date,JSONPath=`.status.lastUsed`,description="Time since it last allowed an object"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Effective",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Effective")].reason`,description="Why the exception has no effect; empty: it has one"
// +kubebuilder:printcolumn:name="Policies",type=string,priority=1,JSONPath=`.spec.policies`,description="The policies that the images may violate"
// +kubebuilder:printcolumn:name="Images",type=string,priority=1,JSONPath=`.spec.images`,description="The images that are allowed"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`,description="Why"
type ImageScanException struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageScanExceptionSpec `json:"spec"`
	// +optional
	Status ImageScanExceptionStatus `json:"status,omitzero"`
}

// ImageScanExceptionList is a list of exceptions.
//
// +kubebuilder:object:root=true
type ImageScanExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageScanException `json:"items"`
}
