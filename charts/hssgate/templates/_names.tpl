{{- define "hssgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* What objects are called: at most 50 characters, so that suffixes fit. */}}
{{- define "hssgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "hssgate.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "hssgate.serviceAccountName" -}}
{{- default (ternary (include "hssgate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{- define "hssgate.caSecret" -}}
{{- printf "%s-serving-ca" (include "hssgate.fullname" .) -}}
{{- end }}

{{- define "hssgate.certificateSecret" -}}
{{- default (printf "%s-tls" (include "hssgate.fullname" .)) .Values.certificates.existingSecret -}}
{{- end }}

{{- define "hssgate.credentialsSecret" -}}
{{- default (printf "%s-credentials" (include "hssgate.fullname" .)) .Values.credentials.existingSecret -}}
{{- end }}

{{/* The simulated HSS, and its address. */}}
{{- define "hssgate.simulator" -}}
{{- printf "%s-simulator" (include "hssgate.fullname" .) -}}
{{- end }}

{{/* The lease of leader election, by the name that hssgate knows it. */}}
{{- define "hssgate.lease" -}}hssgate{{- end }}

{{/* Who selects pods: never changes in the life of a release. */}}
{{- define "hssgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hssgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gate
{{- end }}

{{/* Labels of every object. */}}
{{- define "hssgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "hssgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: hssgate
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels and annotations of an object: those of all, and its own. */}}
{{- define "hssgate.meta" -}}
labels:
  {{- include "hssgate.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge dict (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "hssgate.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{- define "hssgate.image" -}}
{{- include "hssgate.imageOf" (dict "root" . "image" .Values.image) -}}
{{- end }}

{{/* A registry of the values takes the place of the repository's host. */}}
{{- define "hssgate.imageOf" -}}
{{- $image := .image -}}
{{- $repository := $image.repository -}}
{{- with .root.Values.image.registry | default .root.Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* The port of a URL. */}}
{{- define "hssgate.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}
