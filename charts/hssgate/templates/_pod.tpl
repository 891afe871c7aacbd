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
  secret:
    secretName: {{ include "hssgate.credentialsSecret" . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
