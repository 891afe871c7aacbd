{{/*
The pods spread over nodes and zones. matchLabelKeys counts the pods of one
revision only, so that a rollout ends up spread too.
*/}}
{{- define "hssgate.topologySpreadConstraints" -}}
{{- $selector := dict "matchLabels" (include "hssgate.selectorLabels" . | fromYaml) -}}
{{- $constraints := .Values.topologySpreadConstraints -}}
{{- if not $constraints -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" -}}
{{- $constraints = append $constraints (dict "topologyKey" $key "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "matchLabelKeys" (list "pod-template-hash")) -}}
{{- end -}}
{{- end -}}
{{- $spread := list -}}
{{- range $constraints -}}
{{- $spread = append $spread (merge (deepCopy .) (dict "labelSelector" $selector)) -}}
{{- end -}}
{{- toYaml $spread -}}
{{- end }}
