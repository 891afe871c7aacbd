{{- define "meaning" -}}
{{- if eq .Name "metadata" -}}
What every Kubernetes object has: name, labels and so on.
{{- else -}}
{{ regexReplaceAll "(<br />|\\s)+" (markdownRenderFieldDoc .Doc) " " | trim }}
{{- end -}}
{{- end -}}

{{- define "default" -}}
{{- if not (hasPrefix "{" .Default) }}{{ with .Default }}`{{ . }}`{{ end }}{{ end -}}
{{- end -}}

{{- /* Validation markers in words. Enumerations are shown by the type; CEL rules by the comment, and by the API server. */ -}}
{{- define "rules" -}}
{{- $optional := false -}}
{{- range .Validation }}{{ if hasPrefix "Optional" . }}{{ $optional = true }}{{ end }}{{ end -}}
{{- $rules := list -}}
{{- if not (or $optional .Default (eq .Name "metadata")) }}{{ $rules = append $rules "**required**" }}{{ end -}}
{{- range .Validation -}}
  {{- $rule := . | replace "items:" "each: " | replace "2.147483647e+09" "2147483647" -}}
  {{- $rule = regexReplaceAll "MaxItems: (\\d+)" $rule "at most $1 items" -}}
  {{- $rule = regexReplaceAll "MinItems: (\\d+)" $rule "at least $1 items" | replace "at least 1 items" "not empty" -}}
  {{- $rule = regexReplaceAll "MaxLength: (\\d+)" $rule "at most $1 characters" -}}
  {{- $rule = regexReplaceAll "MinLength: (\\d+)" $rule "at least $1 characters" | replace "at least 1 characters" "not empty" -}}
  {{- $rule = regexReplaceAll "Maximum: (.+)" $rule "at most $1" -}}
  {{- $rule = regexReplaceAll "Minimum: (.+)" $rule "at least $1" -}}
  {{- if not (regexMatch "Optional|Required|Enum|XValidation|Type:|Schemaless" $rule) }}{{ $rules = append $rules (markdownRenderFieldDoc $rule) }}{{ end -}}
{{- end -}}
{{- join ", " $rules -}}
{{- end -}}
