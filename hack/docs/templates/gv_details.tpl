{{- define "gvDetails" -}}
{{- $gv := . -}}
Everything that can be written in the custom resources of `{{ $gv.GroupVersionString }}`. Fields marked **required** have
no default; the others may be left out. The API server refuses whatever breaks a rule in the last column.

{{ range $gv.SortedKinds }}
{{ template "type" ($gv.TypeForKind .) }}
{{ end }}

{{ range $gv.SortedTypes -}}
{{- if not .GVK }}
{{ template "type" . }}
{{ end -}}
{{ end }}
{{- end -}}
