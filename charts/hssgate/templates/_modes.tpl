{{/*
What follows from several values at once. Those that stand for yes or no are
"true" or empty.
*/}}

{{- define "hssgate.hasDeployment" -}}
{{- if eq (toString .Values.deployment.enabled) "auto" -}}
{{- if not .Values.webhook.url -}}true{{- end -}}
{{- else if .Values.deployment.enabled -}}true{{- end -}}
{{- end }}

{{/* hssgate makes its own certificates, and writes their CA into the webhook configuration. */}}
{{- define "hssgate.ownCertificates" -}}
{{- if not (or .Values.certificates.existingSecret .Values.certManager.enabled .Values.webhook.caBundle) -}}true{{- end -}}
{{- end }}

{{- define "hssgate.dryRun" -}}
{{- if eq (toString .Values.dryRun) "auto" -}}
{{- eq .Values.mode "audit" -}}
{{- else -}}
{{- .Values.dryRun -}}
{{- end -}}
{{- end }}

{{- define "hssgate.failurePolicy" -}}
{{- if eq .Values.webhook.failurePolicy "auto" -}}
{{- ternary "Fail" "Ignore" (eq .Values.mode "enforce") -}}
{{- else -}}
{{- .Values.webhook.failurePolicy -}}
{{- end -}}
{{- end }}

{{/* The namespaces that are never evaluated, as a JSON list. */}}
{{- define "hssgate.exemptNamespaces" -}}
{{- concat (list "kube-system" (include "hssgate.namespace" .)) .Values.exemptions.namespaces | uniq | toJson -}}
{{- end }}

{{/* The chart makes a Secret of credentials in values, or of the simulator's published key. */}}
{{- define "hssgate.hasCredentials" -}}
{{- $c := .Values.credentials -}}
{{- if or .Values.simulator.enabled (and (not $c.existingSecret) (or $c.accessKey $c.token)) -}}true{{- end -}}
{{- end }}

{{- define "hssgate.credentialsSource" -}}
{{- $c := .Values.credentials -}}
{{- if ne $c.source "auto" -}}{{- $c.source -}}
{{- else if $c.oidc.identityProviderID -}}OIDC
{{- else if $c.token -}}TokenFile
{{- else if or $c.existingSecret $c.accessKey .Values.simulator.enabled -}}Files
{{- else -}}Default
{{- end -}}
{{- end }}

{{- define "hssgate.mountsCredentials" -}}
{{- if or .Values.credentials.existingSecret (include "hssgate.hasCredentials" .) (eq (include "hssgate.credentialsSource" .) "OIDC") -}}true{{- end -}}
{{- end }}

{{/* 65 % of the memory limit in bytes, so that Go collects before the kernel kills: the program itself, and what a collection can not free in time, need the rest; empty for a limit that is no whole number. */}}
{{- define "hssgate.goMemoryLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- if regexMatch "^[0-9]+(Ki|Mi|Gi|k|M|G)?$" $limit -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $unit := get $units (regexFind "[A-Za-z]*$" $limit) -}}
{{- div (mul (regexFind "^[0-9]+" $limit | int64) $unit 65) 100 -}}
{{- end -}}
{{- end }}

{{- define "hssgate.simulatorWarning" -}}
HSS is simulated (simulator.enabled), so nothing is scanned. For tests only, never for a cluster that is to be safe.
{{- end }}
