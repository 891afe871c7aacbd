{{- define "type" -}}
{{- $type := . -}}
{{- if markdownShouldRenderType $type }}
{{ if $type.GVK }}##{{ else }}###{{ end }} {{ $type.Name }}

{{ $type.Doc }}

{{ if $type.References -}}
Used in: {{ range $i, $reference := $type.SortedReferences }}{{ if $i }}, {{ end }}{{ markdownRenderTypeLink $reference }}{{ end }}.
{{ end }}

{{ if $type.Members -}}
| Field | Type | Meaning | Default | Rules |
| --- | --- | --- | --- | --- |
{{ if $type.GVK -}}
| `apiVersion` | string | `{{ $type.GVK.Group }}/{{ $type.GVK.Version }}` | | |
| `kind` | string | `{{ $type.GVK.Kind }}` | | |
{{ end -}}
{{ range $type.Members -}}
| `{{ .Name }}` | {{ markdownRenderType .Type }} | {{ template "meaning" . }} | {{ template "default" . }} | {{ template "rules" . }} |
{{ end -}}
{{ end -}}
{{ template "values" $type }}
{{- end -}}
{{- end -}}

{{- /* The values of an enumeration: a table if one of them is explained, else a line. */ -}}
{{- define "values" -}}
{{- $explained := false -}}
{{- range .EnumValues }}{{ if .Doc }}{{ $explained = true }}{{ end }}{{ end -}}
{{- if $explained -}}
| Value | Meaning |
| --- | --- |
{{ range .EnumValues -}}
| `{{ .Name }}` | {{ template "valueMeaning" . }} |
{{ end -}}
{{- else if .EnumValues -}}
One of {{ range $i, $value := .EnumValues }}{{ if $i }}, {{ end }}`{{ $value.Name }}`{{ end }}.
{{ end -}}
{{- end -}}

{{- /* A constant's comment starts with its Go name, which no manifest knows. */ -}}
{{- define "valueMeaning" -}}
{{- $doc := regexReplaceAll "^[A-Z][A-Za-z]+ +" (regexReplaceAll "\\s+" .Doc " ") "" | trim -}}
{{- if $doc }}{{ upper (substr 0 1 $doc) }}{{ substr 1 (len $doc) $doc }}{{ end -}}
{{- end -}}
