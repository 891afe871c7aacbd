{{/*
hssgate's configuration file: what values say, and what only the chart knows.
*/}}
{{- define "hssgate.config" -}}
{{- $credentials := include "hssgate.configCredentials" . | fromYaml -}}
{{- $projects := list -}}
{{- range .Values.config.projects -}}
{{- $project := deepCopy . -}}
{{- if not (hasKey $project "credentials") -}}{{- $_ := set $project "credentials" $credentials -}}{{- end -}}
{{- if kindIs "string" $project.requestsPerSecond -}}{{- $_ := set $project "requestsPerSecond" (float64 $project.requestsPerSecond) -}}{{- end -}}
{{- $projects = append $projects $project -}}
{{- end -}}
{{- $registries := .Values.config.registries -}}
{{- with .Values.hss.region -}}
{{- $project := dict "name" "default" "region" . "credentials" $credentials -}}
{{- with $.Values.hss.projectID -}}{{- $_ := set $project "projectID" . -}}{{- end -}}
{{- with $.Values.hss.scanOnDemand -}}{{- $_ := set $project "scanOnDemand" . -}}{{- end -}}
{{- $projects = list $project -}}
{{- $registries = list (dict "name" "swr" "hosts" (list (printf "swr.%s.myhuaweicloud.com" .))) -}}
{{- end -}}
{{- $cache := deepCopy .Values.config.cache -}}
{{- if .Values.simulator.enabled -}}
{{- $projects = list (dict "name" "simulated" "endpoint" (printf "http://%s.%s.svc:8443" (include "hssgate.simulator" .) (include "hssgate.namespace" .)) "insecure" true "projectID" "simulated" "credentials" $credentials) -}}
{{- $registries = $registries | default (list (dict "name" "swr" "hosts" (list "swr.cn-north-4.myhuaweicloud.com"))) -}}
{{- $cache = merge $cache (dict "freshFor" "5s") -}}{{- /* another inventory shows at once */ -}}
{{- end -}}
{{- $config := dict
  "apiVersion" "config.hssgate.io/v1alpha1"
  "kind" "Configuration"
  "projects" $projects
  "registries" $registries
  "webhook" (include "hssgate.configWebhook" . | fromYaml)
  "messages" .Values.messages
  "healthBindAddress" (printf ":%d" (int .Values.ports.health))
  "metricsBindAddress" (printf ":%d" (int .Values.ports.metrics))
  "dryRun" (eq (include "hssgate.dryRun" .) "true")
  "exemptNamespaces" (include "hssgate.exemptNamespaces" . | fromJsonArray) -}}
{{- range $key, $value := merge (dict "cache" $cache) .Values.config -}}
{{- if and (not (hasKey $config $key)) (not (empty $value)) -}}
{{- $_ := set $config $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{- define "hssgate.configWebhook" -}}
{{- $webhook := deepCopy .Values.config.webhook -}}
{{- $_ := set $webhook "bindAddress" (printf ":%d" (int .Values.ports.webhook)) -}}
{{- if include "hssgate.ownCertificates" . -}}
{{- $service := printf "%s.%s.svc" (include "hssgate.fullname" .) (include "hssgate.namespace" .) -}}
{{- $_ := set $webhook "hosts" (concat (list $service (printf "%s.%s" $service .Values.clusterDomain)) .Values.certificates.extraHosts) -}}
{{- $_ := set $webhook "configurationName" (include "hssgate.fullname" .) -}}
{{- if .Values.pin.enabled -}}{{- $_ := set $webhook "mutatingConfigurationName" (include "hssgate.fullname" .) -}}{{- end -}}
{{- $_ := set $webhook "caSecret" (include "hssgate.caSecret" .) -}}
{{- else -}}
{{- $_ := set $webhook "certDir" "/etc/hssgate/tls" -}}
{{- end -}}
{{- if .Values.clientCertificates.enabled -}}
{{- $_ := set $webhook "clientCAFile" (printf "/etc/hssgate/client-ca/%s" .Values.clientCertificates.key) -}}
{{- with .Values.clientCertificates.names -}}{{- $_ := set $webhook "clientNames" . -}}{{- end -}}
{{- end -}}
{{- toYaml $webhook -}}
{{- end }}

{{/* Where a project's keys come from if it doesn't say so itself. */}}
{{- define "hssgate.configCredentials" -}}
{{- $keys := .Values.credentials.keys -}}
{{- if include "hssgate.hasCredentials" . -}}
{{- $keys = dict "accessKey" "access-key" "secretKey" "secret-key" "securityToken" (ternary "security-token" "" (not (empty .Values.credentials.securityToken))) "token" "token" -}}
{{- end -}}
{{- $source := include "hssgate.credentialsSource" . -}}
{{- $folder := "/etc/hssgate/credentials/" -}}
source: {{ $source }}
{{- if eq $source "Files" }}
accessKeyFile: {{ $folder }}{{ $keys.accessKey }}
secretKeyFile: {{ $folder }}{{ $keys.secretKey }}
{{- with $keys.securityToken }}
securityTokenFile: {{ $folder }}{{ . }}
{{- end }}
{{- else if eq $source "TokenFile" }}
tokenFile: {{ $folder }}{{ $keys.token }}
{{- else if eq $source "OIDC" }}
tokenFile: {{ $folder }}token
identityProviderID: {{ .Values.credentials.oidc.identityProviderID | quote }}
{{- else if and (eq $source "Profile") .Values.credentials.existingSecret }}
profileFile: {{ $folder }}{{ $keys.profile }}
{{- end }}
{{- end }}
