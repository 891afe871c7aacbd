{{/* Where the API server asks, for a path of the webhook. */}}
{{- define "hssgate.clientConfig" -}}
{{- $root := .root -}}
{{- with $root.Values.webhook.url -}}
url: {{ . | trimSuffix "/" }}{{ $.path }}
{{- else -}}
service:
  name: {{ include "hssgate.fullname" $root }}
  namespace: {{ include "hssgate.namespace" $root }}
  port: {{ $root.Values.service.port }}
  path: {{ $.path }}
{{- end }}
{{- with $root.Values.webhook.caBundle }}
caBundle: {{ . | b64enc }}
{{- end }}
{{- end }}

{{/*
What the webhooks for pods and for workloads have in common, apart from when
an update needs a call: only one that may bring an image in. All else (labels,
finalizers, scaling, a restart) never waits for HSS, and goes on while hssgate
is away.
*/}}
{{- define "hssgate.evaluation" -}}
clientConfig:
  {{- include "hssgate.clientConfig" (dict "root" . "path" "/validate") | nindent 2 }}
admissionReviewVersions: [v1]
# Uses of exceptions are counted, but not those of requests that are only tried.
sideEffects: NoneOnDryRun
failurePolicy: {{ include "hssgate.failurePolicy" . }}
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
# A pod that comes in by another version of the API is a pod too.
matchPolicy: Equivalent
{{ include "hssgate.namespaceSelector" . }}
{{- end }}

{{- define "hssgate.namespaceSelector" -}}
# By name, which the API server keeps in this label and cannot be forged. hssgate and what a cluster needs to come up must
# start while hssgate is away.
namespaceSelector:
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ include "hssgate.exemptNamespaces" . }}
  {{- with .Values.exemptions.label }}
  - key: {{ . }}
    operator: DoesNotExist
  {{- end }}
{{- end }}

{{/* Only a change of these may bring an image into a pod. */}}
{{- define "hssgate.podImagesMayBeNew" -}}
- name: images-may-be-new
  expression: >-
    request.operation != 'UPDATE' ||
    object.spec.containers != oldObject.spec.containers ||
    object.spec.?initContainers != oldObject.spec.?initContainers ||
    object.spec.?ephemeralContainers != oldObject.spec.?ephemeralContainers ||
    object.spec.?volumes != oldObject.spec.?volumes
{{- end }}

{{- define "hssgate.matchConditions" -}}
{{- with .Values.webhook.matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}
