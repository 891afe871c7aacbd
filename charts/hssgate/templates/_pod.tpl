{{/* What the gate and the test that calls HSS as the gate does have in common: the mounts of configuration and keys, */}}
{{- define "hssgate.volumeMounts" -}}
- name: config
  mountPath: /etc/hssgate/config
  readOnly: true
{{- if include "hssgate.mountsCredentials" . }}
- name: credentials
  mountPath: /etc/hssgate/credentials
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* and their volumes. */}}
{{- define "hssgate.volumes" -}}
- name: config
  configMap:
    name: {{ include "hssgate.fullname" . }}
{{- if include "hssgate.mountsCredentials" . }}
- name: credentials
  {{- if eq (include "hssgate.credentialsSource" .) "OIDC" }}
  projected:
    sources:
    - serviceAccountToken:
        path: token
        audience: {{ .Values.credentials.oidc.audience | quote }}
        expirationSeconds: {{ int .Values.credentials.oidc.expirationSeconds }}
  {{- else }}
  secret:
    secretName: {{ include "hssgate.credentialsSecret" . }}
    defaultMode: 0440
  {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Pull secrets of this chart and of all charts, which may be names. */}}
{{- define "hssgate.imagePullSecrets" -}}
{{- $secrets := .Values.imagePullSecrets -}}
{{- range .Values.global.imagePullSecrets -}}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with $secrets }}
imagePullSecrets:
  {{- toYaml (uniq .) | nindent 2 }}
{{- end }}
{{- end }}

{{/* The network of the pods that call HSS: the gate and the test that calls HSS as the gate does. */}}
{{- define "hssgate.network" -}}
{{- if .Values.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with .Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
