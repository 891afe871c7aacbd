package v1alpha1

import (
	"bytes"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Enforcement is what a violated policy does to the request.
//
// +kubebuilder:validation:Enum=Deny;Warn;Audit
type Enforcement string

// The enforcements, from the strictest to the mildest.
const (
	// EnforcementDeny refuses the object.
	EnforcementDeny Enforcement = "Deny"
	// EnforcementWarn admits the object with a warning to its sender.
	EnforcementWarn Enforcement = "Warn"
	// EnforcementAudit admits the object and only records the violation.
	EnforcementAudit Enforcement = "Audit"
)

// Action is what happens if there is no completed scan to evaluate. It never
// goes beyond the policy's enforcement: Deny in a Warn policy warns.
//
// +kubebuilder:validation:Enum=Deny;Warn;Audit;Allow
type Action string

// The actions, from the strictest to the mildest.
const (
	// ActionDeny refuses the object, as far as the policy's enforcement does.
	ActionDeny Action = "Deny"
	// ActionWarn admits the object with a warning to its sender.
	ActionWarn Action = "Warn"
	// ActionAudit admits the object and only records the violation.
	ActionAudit Action = "Audit"
	// ActionAllow admits the image and records nothing.
	ActionAllow Action = "Allow"
)

// TemplateAction is what a violation in the pod template of a workload
// (Deployment, Job, …) does. It never goes beyond the policy's enforcement.
//
// +kubebuilder:validation:Enum=Deny;Warn;Ignore
type TemplateAction string

// The template actions, from the strictest to the mildest.
const (
	TemplateDeny TemplateAction = "Deny"
	TemplateWarn TemplateAction = "Warn"
	// TemplateIgnore ignores workloads; their pods are still evaluated.
	TemplateIgnore TemplateAction = "Ignore"
)

// Severity is the severity level that HSS gives a scanned image, ordered
// Security < Low < Medium < High. These are not the levels of CVSS: for hosts,
// HSS documents High as CVSS 9 and more, Medium as 4 to 8.9 and Low as less; for
// images it documents the same words without scores. So take High to begin at 9.
//
// +kubebuilder:validation:Enum=Security;Low;Medium;High
type Severity string

// The severities, from harmless to worst.
const (
	SeveritySecurity Severity = "Security"
	SeverityLow      Severity = "Low"
	SeverityMedium   Severity = "Medium"
	SeverityHigh     Severity = "High"
)

// ScanStatus is the state of an image's scan, spelled as HSS spells it.
//
// +kubebuilder:validation:Enum=unscan;success;scanning;failed;download_failed;image_oversized;waiting_for_scan
type ScanStatus string

// The scan statuses that HSS documents.
const (
	ScanStatusUnscan         ScanStatus = "unscan"
	ScanStatusSuccess        ScanStatus = "success"
	ScanStatusScanning       ScanStatus = "scanning"
	ScanStatusFailed         ScanStatus = "failed"
	ScanStatusDownloadFailed ScanStatus = "download_failed"
	ScanStatusImageOversized ScanStatus = "image_oversized"
	ScanStatusWaitingForScan ScanStatus = "waiting_for_scan"
)

// DigestRequirement is whether a reference must name a digest.
//
// +kubebuilder:validation:Enum=Required;Optional
type DigestRequirement string

// The digest requirements.
const (
	// DigestRequired refuses references that name only a tag: a tag can move
	// after the scan, a digest cannot.
	DigestRequired DigestRequirement = "Required"
	// DigestOptional accepts tags, and what HSS scanned under them.
	DigestOptional DigestRequirement = "Optional"
)

// ImageScanPolicySpec is what a policy matches and what it requires of an image.
//
// +kubebuilder:validation:XValidation:rule="!has(self.when) || self.when.notFound != 'Allow' || self.when.notScanned != 'Allow' || self.when.unavailable != 'Allow' || (has(self.require) && (has(self.require.severityLevel) || has(self.require.vulnerabilities) || has(self.require.forbiddenVulnerabilities) || has(self.require.maliciousFiles) || has(self.require.unsafeSettings) || has(self.require.secrets) || has(self.require.scanStatus) || has(self.require.scanAge) || has(self.require.expressions) || (has(self.require.digest) && self.require.digest == 'Required')))",message="the policy asks for nothing: name a requirement under require, or an action other than Allow under when"
type ImageScanPolicySpec struct {
	// Enforcement is what a violation does: Deny, Warn or Audit.
	// +kubebuilder:default=Deny
	// +optional
	Enforcement Enforcement `json:"enforcement,omitempty"`
	// Templates is what a violation in a workload's pod template does. The pods
	// of the workload are evaluated in any case.
	// +kubebuilder:default=Warn
	// +optional
	Templates TemplateAction `json:"templates,omitempty"`
	// Match selects what the policy evaluates. Empty: every image of every pod.
	// +optional
	Match Match `json:"match,omitzero"`
	// Require lists what an image must fulfil. What is left out isn't checked.
	// +optional
	Require Requirements `json:"require,omitzero"`
	// When is what happens if there is no completed scan to evaluate.
	// +kubebuilder:default={}
	// +optional
	When When `json:"when,omitzero"`
	// Exceptions is whether an ImageScanException can allow an image that violates
	// the policy: Allow or Forbid.
	// +kubebuilder:default=Allow
	// +optional
	Exceptions Permission `json:"exceptions,omitempty"`
	// Pin makes new pods run what HSS scanned: where a pod names an image by a tag
	// only, the digest that HSS scanned under the tag is added to it. Of several
	// policies that match, one is enough. It needs the webhook that pins (the
	// chart's pin.enabled), changes pods only, never their workloads, and does
	// nothing under enforcement Audit. An image for which HSS reports no digest
	// keeps its tag, with a warning.
	// +optional
	Pin bool `json:"pin,omitempty"`
	// Grace admits an image that already runs and passed for some time after its
	// scan result turns bad. Absent: it is denied at once.
	// +optional
	Grace *Grace `json:"grace,omitempty"`
}

// Grace is for an image whose digest already runs in a namespace and passed the
// policy there, so that a new CVE stops no restart and no reschedule at night.
// When it no longer passes, hssgate writes an ImageScanException for the digest
// in that namespace: until this ends the image is admitted with a warning, and
// denied from then on. A digest that never ran, or never passed while it did, has
// no grace. exceptions: Forbid does not concern it.
//
// The background audit finds that an image ran and passed, by the digest that the
// node reports and the one of HSS's record; an image that only an exception or an
// action under when admitted did not pass.
//
// It covers what scans find and do not find: severityLevel, vulnerabilities,
// unsafeSettings, secrets, scanAge and scanStatus (an old scan, or one that failed, is
// no new finding against an image that passed). It does not cover malicious files,
// forbiddenVulnerabilities (they are named because no image may run with them),
// digest, expressions, or what when decides: an image with such a finding is denied
// for all of them. Requirements that become stricter count like records that turn bad.
//
// +kubebuilder:object:generate=false
type Grace struct {
	// Period is how long the grace lasts from the moment in which the image was
	// first found to be bad, as a Go duration such as 168h: from 1m to 2160h (90
	// days).
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,7}([.][0-9]{1,9})?m)?([0-9]{1,9}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('2160h')",message="must be a duration from 1m to 2160h (90 days) in hours, minutes and seconds, such as 168h for 7 days: days and weeks are no unit"
	Period metav1.Duration `json:"period"`
}

// Globs is a list of globs over host/path of the normalised reference.
//
// +kubebuilder:object:generate=false
// +listType=set
// +kubebuilder:validation:MaxItems=64
// +kubebuilder:validation:items:MinLength=1
// +kubebuilder:validation:items:MaxLength=512
// +kubebuilder:validation:items:XValidation:rule="!self.contains('://')",message="leave out the scheme: a glob is matched against host/path, such as registry.example.com/team/**"
// +kubebuilder:validation:items:XValidation:rule="!self.contains('@')",message="leave out the digest: a glob is matched against host/path"
// +kubebuilder:validation:items:XValidation:rule="!self.matches(':[^/]*$')",message="leave out the tag: a glob is matched against host/path"
// +kubebuilder:validation:items:XValidation:rule="self.contains('/') || self.contains('**')",message="must name host and path, such as docker.io/library/nginx or registry.example.com/**"
// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="must not have an empty part between slashes"
// +kubebuilder:validation:items:XValidation:rule="!self.contains('***')",message="use * within a path segment or ** across slashes"
// +kubebuilder:validation:items:XValidation:rule="self.matches('^(localhost|[^/]*[.:*][^/]*)(/|$)')",message="must begin with the registry's host, such as docker.io/library/nginx"
// +kubebuilder:validation:items:XValidation:rule="self.matches('^[]A-Za-z0-9.:_*[-]+(/[a-z0-9._*/-]*)?$')",message="may hold only letters, digits, '.', '_', '-', '/', '*' and, in the host, ':', '[' and ']'; a path is lower-case"
type Globs []string

// Match selects pods and images. All of its parts must fit.
type Match struct {
	// NamespaceSelector selects namespaces by their labels. Empty: all. Users who
	// may label a namespace can take it away from the policy: guard the labels
	// (exemptions.guard.namespaceLabels of the chart), and select the namespaces to
	// leave out (NotIn, DoesNotExist), so that a new one without labels is selected.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || self.matchLabels.size() <= 32",message="at most 32 labels"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.size() <= 32",message="at most 32 expressions"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, !has(e.values) || e.values.size() <= 64)",message="at most 64 values in an expression"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",message="operator must be In, NotIn, Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && e.values.size() > 0))",message="In and NotIn need values, Exists and DoesNotExist take none"
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// ObjectSelector selects pods by their labels (of a workload: those of its
	// pod template). The author of a pod chooses its labels. Empty: all.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || self.matchLabels.size() <= 32",message="at most 32 labels"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.size() <= 32",message="at most 32 expressions"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, !has(e.values) || e.values.size() <= 64)",message="at most 64 values in an expression"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",message="operator must be In, NotIn, Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && e.values.size() > 0))",message="In and NotIn need values, Exists and DoesNotExist take none"
	// +optional
	ObjectSelector *metav1.LabelSelector `json:"objectSelector,omitempty"`
	// Images are globs over host/path of the normalised reference, without
	// tag and digest: * stays within a path segment, ** crosses slashes.
	// Empty: all images.
	// +optional
	Images Globs `json:"images,omitempty"`
	// ExcludeImages are globs of images that the policy does not match, even if
	// Images selects them.
	// +optional
	ExcludeImages Globs `json:"excludeImages,omitempty"`
}

// Requirements are the checks that an image must pass, all of them.
//
// +kubebuilder:validation:XValidation:rule="!has(self.ignoreVulnerabilities) || has(self.vulnerabilities)",message="ignoreVulnerabilities needs vulnerabilities: nothing else counts them"
type Requirements struct {
	// SeverityLevel bounds the severity level that HSS gives the image. HSS's High
	// may begin at CVSS 9, so max: Medium may admit an image with vulnerabilities
	// of CVSS 7 to 8.9. max: Low denies these, too.
	// +optional
	SeverityLevel *SeverityRequirement `json:"severityLevel,omitempty"`
	// Vulnerabilities bounds the number of vulnerabilities found.
	// +optional
	Vulnerabilities *VulnerabilityRequirement `json:"vulnerabilities,omitempty"`
	// ForbiddenVulnerabilities are those that no image may have, by their CVE IDs or
	// by their identifiers as HSS lists them, whatever their severity and fix. An
	// image violates the policy also if it cannot be excluded that it has one of
	// them: its vulnerabilities are not known one by one, or not all of the CVEs
	// that they stand for. IgnoreVulnerabilities does not apply to them.
	// +kubebuilder:validation:MinItems=1
	// +optional
	ForbiddenVulnerabilities VulnerabilityIDs `json:"forbiddenVulnerabilities,omitempty"`
	// IgnoreVulnerabilities are left out of the number of vulnerabilities until a
	// time, wherever the policy applies. An advisory is left out by CVE IDs only if all
	// of its CVEs are listed. A severity level that only they explain counts as that of
	// the worst other one. For one image, grant an ImageScanException instead.
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=256
	// +optional
	IgnoreVulnerabilities []IgnoredVulnerability `json:"ignoreVulnerabilities,omitempty"`
	// MaliciousFiles bounds the number of malicious files found.
	// +optional
	MaliciousFiles *CountRequirement `json:"maliciousFiles,omitempty"`
	// UnsafeSettings bounds the number of unsafe settings found.
	// +optional
	UnsafeSettings *CountRequirement `json:"unsafeSettings,omitempty"`
	// Secrets bounds the number of secrets found, such as private keys and
	// passwords. It needs a call to HSS for each scan of an image.
	// +optional
	Secrets *SecretRequirement `json:"secrets,omitempty"`
	// ScanStatus lists the scan statuses that are accepted. A scan that has
	// not been completed is decided by when.notScanned.
	// +optional
	ScanStatus *ScanStatusRequirement `json:"scanStatus,omitempty"`
	// ScanAge bounds the time since the image's last scan.
	// +optional
	ScanAge *ScanAgeRequirement `json:"scanAge,omitempty"`
	// Digest is whether the reference must name a digest.
	// +optional
	Digest DigestRequirement `json:"digest,omitempty"`
	// Expressions are CEL expressions over image; each must be true.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Expressions []Expression `json:"expressions,omitempty"`
}

// IgnoredVulnerability is a vulnerability that does not count until a time.
type IgnoredVulnerability struct {
	// ID is its CVE ID, or its identifier as HSS lists it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^CVE-[0-9]{4}-[0-9]{4,19}$') || self.matches('^[A-Za-z][A-Za-z0-9]*-[A-Za-z0-9:._-]*[0-9][A-Za-z0-9:._-]*$') && !self.matches('^[Cc][Vv][Ee]-')",message="must be the identifier of a vulnerability as HSS lists it, such as CVE-2024-1234 or RHSA-2022:4991"
	ID string `json:"id"`
	// Reason is why it does not count, in one line.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('[^[:space:]]')",message="must say why"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[[:cntrl:]]')",message="must be one line without control characters"
	Reason string `json:"reason"`
	// ExpiresAt is when it counts again, such as 2027-01-31T18:00:00Z.
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// UnmarshalJSON also reads an identifier alone, as earlier versions stored it. It has
// no end, so that it counts; otherwise no policy of the cluster could be read.
func (v *IgnoredVulnerability) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return json.Unmarshal(data, &v.ID)
	}
	type entry IgnoredVulnerability
	return json.Unmarshal(data, (*entry)(v))
}

// VulnerabilityIDs is a list of identifiers of vulnerabilities: CVE IDs, and those
// of advisories as HSS lists them.
//
// +kubebuilder:object:generate=false
// +listType=set
// +kubebuilder:validation:MaxItems=256
// +kubebuilder:validation:items:MinLength=1
// +kubebuilder:validation:items:MaxLength=128
// +kubebuilder:validation:items:XValidation:rule="self.matches('^CVE-[0-9]{4}-[0-9]{4,19}$') || self.matches('^[A-Za-z][A-Za-z0-9]*-[A-Za-z0-9:._-]*[0-9][A-Za-z0-9:._-]*$') && !self.matches('^[Cc][Vv][Ee]-')",message="must be the identifier of a vulnerability as HSS lists it, such as CVE-2024-1234 or RHSA-2022:4991"
type VulnerabilityIDs []string

// VulnerabilityRequirement bounds the number of vulnerabilities that count. By
// default all do. For minSeverity, minCVSS, olderThan, fixableOnly and
// ignoreVulnerabilities hssgate looks up the vulnerabilities of an image that would
// fail without them. If they are not available, all count, and so do those that HSS
// counts and does not list.
//
// +kubebuilder:object:generate=false
type VulnerabilityRequirement struct {
	// Max is the highest number that passes.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Max int32 `json:"max"`
	// MinSeverity leaves out those below: Low, Medium or High, which are HSS's
	// not_needed_repair, delay_repair and immediate_repair. HSS's High may begin at
	// CVSS 9, so High may leave out vulnerabilities of CVSS 7 to 8.9. A severity
	// that is unknown counts.
	// +kubebuilder:validation:XValidation:rule="self != 'Security'",message="must be Low, Medium or High"
	// +optional
	MinSeverity Severity `json:"minSeverity,omitempty"`
	// MinCVSS leaves out those whose CVSS score is lower, such as 7.0. An advisory
	// has the highest score of its CVEs. A score that is unknown counts as 10.
	// +optional
	MinCVSS Score `json:"minCVSS,omitzero"` //nolint:tagliatelle // CVSS is a name
	// OlderThan leaves out those that were published not longer ago than this, as a
	// Go duration in hours, minutes and seconds such as 720h, so that there is time
	// to fix new ones. An advisory is as old as its oldest CVE. One whose time of
	// publication is unknown counts.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,7}([.][0-9]{1,9})?m)?([0-9]{1,9}([.][0-9]{1,9})?s)?$')",message="must be a duration in hours, minutes and seconds, such as 720h for 30 days: days and weeks are no unit"
	// +optional
	OlderThan metav1.Duration `json:"olderThan,omitzero"`
	// FixableOnly leaves out those that nothing fixes: HSS lists no solution.
	// +optional
	FixableOnly bool `json:"fixableOnly,omitempty"`
}

// SecretSeverity is the severity that HSS gives a secret in an image, ordered Low <
// Medium < High < Critical.
//
// +kubebuilder:validation:Enum=Low;Medium;High;Critical
type SecretSeverity string

// The severities of secrets, the mildest first.
const (
	SecretSeverityLow      SecretSeverity = "Low"
	SecretSeverityMedium   SecretSeverity = "Medium"
	SecretSeverityHigh     SecretSeverity = "High"
	SecretSeverityCritical SecretSeverity = "Critical"
)

// SecretRequirement bounds the number of secrets that count. HSS's row of an image
// has no such number, so hssgate always needs their list. If that is not available,
// the number is unknown, and the image violates the policy. Secrets that are marked
// as handled or ignored in HSS's console count, too: they are still in the image.
//
// +kubebuilder:object:generate=false
type SecretRequirement struct {
	// Max is the highest number that passes.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Max int32 `json:"max"`
	// MinSeverity leaves out those below. Empty: all count. A severity that is
	// unknown counts.
	// +optional
	MinSeverity SecretSeverity `json:"minSeverity,omitempty"`
}

// SeverityRequirement bounds a severity level.
//
// +kubebuilder:object:generate=false
type SeverityRequirement struct {
	// Max is the worst severity level that passes: Medium may include CVSS 8.9.
	Max Severity `json:"max"`
}

// CountRequirement bounds a number of findings.
//
// +kubebuilder:object:generate=false
type CountRequirement struct {
	// Max is the highest number that passes.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Max int32 `json:"max"`
}

// ScanStatusRequirement lists accepted scan statuses.
type ScanStatusRequirement struct {
	// In lists the statuses that pass. Only success has a result, so the
	// requirements that evaluate one fail for the others.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:XValidation:rule="'success' in self",message="must list success: no other status has a result"
	// +kubebuilder:validation:XValidation:rule="!self.exists(s, s in ['unscan', 'scanning', 'waiting_for_scan'])",message="unscan, scanning and waiting_for_scan are decided by when.notScanned: leave them out"
	In []ScanStatus `json:"in"`
}

// ScanAgeRequirement bounds the age of a scan.
//
// +kubebuilder:object:generate=false
type ScanAgeRequirement struct {
	// Max is the longest time since the last scan that passes, as a Go
	// duration in hours, minutes and seconds such as 168h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,7}([.][0-9]{1,9})?m)?([0-9]{1,9}([.][0-9]{1,9})?s)?$')",message="must be a duration in hours, minutes and seconds, such as 168h for 7 days: days and weeks are no unit"
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="must be longer than 0s"
	Max metav1.Duration `json:"max"`
}

// Expression is a rule in CEL, for what has no field of its own.
//
// It reads now, a timestamp, and image with these fields. Of the reference:
// reference, host, path, repository (host/path), tag, digest. Of HSS's record:
// namespace, name, version, scannedDigest, imageType, registryType,
// registryName, instanceID, instanceName, multiArch, scanStatus, and, only if
// HSS reports them, scannedAt and updatedAt (timestamps). Of a scan that
// succeeded: severityLevel, vulnerabilities, unsafeSettings, maliciousFiles.
// And architectures, a list of digest, scanStatus, the three numbers and findings.
//
// findings, only if they are known one by one, are vulnerabilities with id (as HSS
// lists it), cves (a list, the worst first), severity, package, installed, fix,
// fixed (whether there is a fix) and, only if HSS reports them for all of its CVEs,
// cvss (the highest score) and publishedAt (the first time), such as
// image.findings.all(f, f.cvss < 9.0 || !f.fixed). It costs a list for each image.
//
// An expression that reads a field which is absent fails; has(image.scannedAt)
// tests for it. Beyond CEL's own functions there are those of Kubernetes for
// lists, strings, sets, regular expressions, URLs and semantic versions.
//
// +kubebuilder:object:generate=false
type Expression struct {
	// Expression is a CEL expression over image and now that must be true, such
	// as image.registryType != 'Other'.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Expression string `json:"expression"`
	// Message is shown when the expression is not true: one line.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.matches('[[:cntrl:]]')",message="must be one line without control characters"
	// +optional
	Message string `json:"message,omitempty"`
}

// When is what happens if there is no completed scan to evaluate.
//
// +kubebuilder:object:generate=false
type When struct {
	// NotFound applies if HSS has no such image, or none with the digest that
	// the reference names, or no configured registry claims the host.
	// +kubebuilder:default=Deny
	// +optional
	NotFound Action `json:"notFound,omitempty"`
	// NotScanned applies if HSS has not yet completed a scan of the image as it
	// is now.
	// +kubebuilder:default=Deny
	// +optional
	NotScanned Action `json:"notScanned,omitempty"`
	// Unavailable applies to an outage of HSS: HSS or the network before it does
	// not answer, answers with an error or throttles, and no recent result is
	// known. Any action but Deny admits unknown images for as long as the outage
	// lasts. It does not apply if hssgate itself is the cause, by refused or
	// missing credentials, a missing project ID or permission, or its own limits
	// of requests: such an image violates the policy.
	// +kubebuilder:default=Deny
	// +optional
	Unavailable Action `json:"unavailable,omitempty"`
}

// Condition types of an ImageScanPolicy.
const (
	// ConditionReady is True if the policy is active as written.
	ConditionReady = "Ready"
	// ConditionHSSReachable is True if HSS answers for every project, False if it
	// does not for one of them, and Unknown before the first answer.
	ConditionHSSReachable = "HSSReachable"
	// ConditionEffective is False if the policy or the exception can have no effect
	// as written, and absent otherwise.
	ConditionEffective = "Effective"
	// ConditionGrace is True if images can have the grace that the policy gives.
	ConditionGrace = "Grace"
)

// ImageScanPolicyStatus is the observed state of a policy.
type ImageScanPolicyStatus struct {
	// ObservedGeneration is the generation that Conditions describe.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready reports whether the policy is Active as written,
	// HSSReachable whether HSS answers, and why not, and Grace, of a policy that
	// gives one, whether images can have it. Effective is False if the policy can
	// match nothing, or no registry of the configuration has what it matches.
	// Expiring is True if an ignored vulnerability counts again, or soon will.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// LastAudit is what the last background audit found among the pods that run.
	// +optional
	LastAudit *AuditStatus `json:"lastAudit,omitempty"`
}

// AuditStatus is what an audit found for one policy.
type AuditStatus struct {
	// Time is when the audit ended.
	Time metav1.Time `json:"time"`
	// Evaluated is how many pods the policy evaluated.
	Evaluated int32 `json:"evaluated"`
	// Violations is how many of these violate the policy, whatever its
	// enforcement.
	Violations int32 `json:"violations"`
	// Unknown is how many pods could not be evaluated, since no recent scan result
	// is available from HSS for one of their images: they are neither evaluated
	// nor known to be good. The condition HSSReachable names the cause.
	Unknown int32 `json:"unknown"`
	// Excepted is how many of the evaluated pods would violate the policy without
	// an exception.
	// +optional
	Excepted int32 `json:"excepted,omitempty"`
	// OtherImages is how many pods run an image, evaluated by its tag, that is not
	// the one HSS scanned under this tag: the tag moved, before or after the scan.
	// What was found in the scanned one says nothing of these. Events with reason
	// RunsOtherImage of the pods' workloads name the images.
	// +optional
	OtherImages int32 `json:"otherImages,omitempty"`
	// Grace counts the images that run under grace; absent if none does.
	// +optional
	Grace *AuditGrace `json:"grace,omitempty"`
	// FirstViolations are the first workloads that violate the policy, in the
	// order of their namespaces and names.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +optional
	FirstViolations []AuditViolation `json:"firstViolations,omitempty"`
}

// AuditGrace counts the images that run under grace.
type AuditGrace struct {
	// Images is how many there are, by digest, in each namespace.
	Images int32 `json:"images"`
	// NextEnd is when the first grace ends.
	NextEnd metav1.Time `json:"nextEnd"`
}

// AuditViolation is a workload whose pods violate a policy.
//
// +kubebuilder:object:generate=false
type AuditViolation struct {
	// Namespace is the workload's.
	Namespace string `json:"namespace"`
	// Kind is the workload's, such as Deployment, or Pod for a pod that
	// belongs to none.
	Kind string `json:"kind"`
	// Name is the workload's.
	Name string `json:"name"`
	// Pods is how many of its pods violate the policy.
	Pods int32 `json:"pods"`
	// Message names the images and the reasons, in one line each.
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message"`
}

// ImageScanPolicy decides which images may run, by what HSS found in them: those of
// containers, init containers, ephemeral containers and image volumes. Images
// that a CSI driver mounts (such as csi-image.warm-metal.tech) are not evaluated,
// since Kubernetes sees only a volume: forbid such drivers (docs/threat-model.md).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=imagescanpolicies,singular=imagescanpolicy,scope=Cluster,shortName=isp,categories={security,hssgate}
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`,description="What a violation does"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the policy is Active as written"
// +kubebuilder:printcolumn:name="HSS",type=string,JSONPath=`.status.conditions[?(@.type=="HSSReachable")].status`,description="Whether HSS answers for every project"
// +kubebuilder:printcolumn:name="Evaluated",type=integer,JSONPath=`.status.lastAudit.evaluated`,description="How many running pods it evaluated in the last audit"
// +kubebuilder:printcolumn:name="Violations",type=integer,JSONPath=`.status.lastAudit.violations`,description="How many of these violate it"
// +kubebuilder:printcolumn:name="Unknown",type=integer,JSONPath=`.status.lastAudit.unknown`,description="How many running pods could not be evaluated, since no scan result is available from HSS"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Templates",type=string,priority=1,JSONPath=`.spec.templates`,description="What a violation in a workload's template does"
// +kubebuilder:printcolumn:name="Severity",type=string,priority=1,JSONPath=`.spec.require.severityLevel.max`,description="The worst severity level that passes"
// +kubebuilder:printcolumn:name="Vulnerabilities",type=integer,priority=1,JSONPath=`.spec.require.vulnerabilities.max`,description="The most vulnerabilities that pass"
// +kubebuilder:printcolumn:name="Images",type=string,priority=1,JSONPath=`.spec.match.images`,description="The images that are evaluated"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="Why the policy is or isn't ready"
// +kubebuilder:printcolumn:name="Effective",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Effective")].reason`,description="Why the policy has no effect; empty: it has one"
// +kubebuilder:printcolumn:name="Expiring",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Expiring")].message`,description="Which ignored vulnerabilities count again, or soon will"
// +kubebuilder:printcolumn:name="Grace",type=string,priority=1,JSONPath=`.status.lastAudit.grace.nextEnd`,description="When the first grace of an image that runs ends"
// +kubebuilder:printcolumn:name="Audited",type=date,priority=1,JSONPath=`.status.lastAudit.time`,description="When the running pods were last audited"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be no more than 63 characters"
type ImageScanPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageScanPolicySpec `json:"spec"`
	// +optional
	Status ImageScanPolicyStatus `json:"status,omitzero"`
}

// ImageScanPolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type ImageScanPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageScanPolicy `json:"items"`
}
