{{/* The policy of a preset. */}}
{{- define "hssgate.policy" -}}
{{- $root := .root -}}
apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata:
  name: {{ .name }}
  {{- include "hssgate.meta" (dict "root" $root "annotations" (merge (dict
    "hssgate.io/preset" .preset
    "meta.helm.sh/release-name" $root.Release.Name
    "meta.helm.sh/release-namespace" $root.Release.Namespace) .annotations)) | nindent 2 }}
spec:
  {{- $v := $root.Values.policies }}
  {{- with merge (dict)
    (ternary (dict "namespaceSelector" $v.namespaceSelector) dict (not (empty $v.namespaceSelector)))
    (ternary (dict "images" $v.images) dict (not (empty $v.images)))
    (ternary (dict "excludeImages" $v.excludeImages) dict (not (empty $v.excludeImages))) }}
  match:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include (printf "hssgate.preset.%s" .preset) $root | nindent 2 }}
{{- end }}

{{/* Records what baseline denies or warns of, and gives no warnings. */}}
{{- define "hssgate.preset.audit" -}}
enforcement: Audit
require:
  severityLevel:
    # HSS's High may start at CVSS 9, so this may admit CVSS 7 to 8.9; Low denies Medium, too, which may start at CVSS 4.
    max: Medium
  maliciousFiles:
    max: 0
{{- end }}

{{/* Denies what HSS found bad, and warns of what it doesn't know or has not scanned. */}}
{{- define "hssgate.preset.baseline" -}}
enforcement: Deny
templates: Warn
require:
  severityLevel:
    # HSS's High may start at CVSS 9, so this may admit CVSS 7 to 8.9; Low denies Medium, too, which may start at CVSS 4.
    max: Medium
  maliciousFiles:
    max: 0
when:
  notFound: Warn
  notScanned: Warn
  # An outage of HSS admits every image that hssgate has no recent result of, with a warning: change it to Deny to
  # admit nothing unknown. Where hssgate itself is the cause (credentials, project ID, permission, its own limits), the
  # image is denied in any case.
  unavailable: Warn
{{- end }}

{{/* Admits only what HSS scanned lately and found nothing bad in. */}}
{{- define "hssgate.preset.strict" -}}
enforcement: Deny
templates: Deny
require:
  severityLevel:
    max: Low
  vulnerabilities:
    max: 0
  maliciousFiles:
    max: 0
  unsafeSettings:
    max: 0
  scanAge:
    max: 168h
  digest: Required
when:
  notFound: Deny
  notScanned: Deny
  unavailable: Deny
{{- end }}
