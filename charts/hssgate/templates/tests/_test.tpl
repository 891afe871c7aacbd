{{/* Metadata of an object of `helm test`: it exists only during the test, and leaves nothing behind. */}}
{{- define "hssgate.testMetadata" -}}
{{- $root := .root -}}
name: {{ .name }}
namespace: {{ default (include "hssgate.namespace" $root) .namespace }}
{{/* Helm prints what the probes say. */}}
{{- include "hssgate.meta" (dict "root" $root "labels" (dict "app.kubernetes.io/component" "test") "annotations" (dict
  "helm.sh/hook" "test"
  "helm.sh/hook-weight" (toString .weight)
  "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded"
  "helm.sh/hook-output-log-policy" "hook-succeeded,hook-failed")) }}
{{- end }}

{{/* What the pods of `helm test` and the simulator have in common. */}}
{{- define "hssgate.helperPod" -}}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- include "hssgate.imagePullSecrets" . }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What their containers have in common. */}}
{{- define "hssgate.testContainer" -}}
image: {{ include "hssgate.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
resources:
  requests:
    cpu: 10m
    memory: 32Mi
  limits:
    memory: 128Mi
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}
