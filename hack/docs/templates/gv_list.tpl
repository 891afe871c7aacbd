{{- define "gvList" -}}
<!-- Generated from policy/v1alpha1 by `make generate`. Edit the comments there. -->

# Policy reference
{{ range . }}
{{ template "gvDetails" . }}
{{ end }}
{{- end -}}
