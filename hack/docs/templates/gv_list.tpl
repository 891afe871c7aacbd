{{- define "gvList" -}}
<!-- Generated from policy/v1alpha1 by `make generate`. Edit the comments there. -->

# Policy reference

[中文：策略指南](../zh-CN/policy.md)
{{ range . }}
{{ template "gvDetails" . }}
{{ end }}
{{- end -}}
