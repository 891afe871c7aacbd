{{/*
Values that the schema can't check, since each alone is right. All problems are reported at once.
*/}}
{{- define "hssgate.checks" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $deployed := include "hssgate.hasDeployment" . -}}
{{- range $wrong, $right := include "hssgate.misnamed" . | fromYaml -}}
{{- if hasKey $v $wrong -}}
{{- $problems = append $problems (printf "%s is no value of this chart: use %s" $wrong $right) -}}
{{- end -}}
{{- end -}}
{{- $c := $v.credentials -}}
{{- if and $deployed (not $v.hss.region) (not $v.config.projects) (not $v.simulator.enabled) -}}
{{- $problems = append $problems "hssgate has no HSS project to ask: set hss.region (such as cn-north-4), or config.projects and config.registries; to try it without HSS, simulator.enabled=true" -}}
{{- end -}}
{{- if and $v.simulator.enabled (or $v.hss.region $v.config.projects $c.existingSecret $c.accessKey $c.token $c.oidc.identityProviderID (ne $c.source "auto")) -}}
{{- $problems = append $problems "simulator.enabled takes the place of HSS, for tests only: leave hss.region, config.projects and credentials empty, or the simulator off" -}}
{{- end -}}
{{- if and $v.simulator.enabled (not $deployed) -}}
{{- $problems = append $problems "simulator.enabled is for a gate in the cluster: leave webhook.url empty, or the simulator off" -}}
{{- end -}}
{{- if and $v.hss.region (or $v.config.projects $v.config.registries) -}}
{{- $problems = append $problems "hss.region is the short form of config.projects and config.registries: give one or the other" -}}
{{- end -}}
{{- if and $v.config.projects (not $v.config.registries) -}}
{{- $problems = append $problems "config.registries is empty: say which registry hosts belong to config.projects" -}}
{{- end -}}
{{- if and $v.hss.projectID (not $v.hss.region) -}}
{{- $problems = append $problems "hss.projectID needs hss.region" -}}
{{- end -}}
{{- if and $c.existingSecret (or $c.accessKey $c.secretKey $c.securityToken $c.token) -}}
{{- $problems = append $problems "credentials.existingSecret already holds the keys: leave accessKey, secretKey, securityToken and token empty" -}}
{{- end -}}
{{- if ne (empty $c.accessKey) (empty $c.secretKey) -}}
{{- $problems = append $problems "credentials.accessKey and credentials.secretKey belong together: give both or neither" -}}
{{- end -}}
{{- if and $c.token $c.accessKey -}}
{{- $problems = append $problems "credentials.token takes the place of credentials.accessKey: give one or the other" -}}
{{- end -}}
{{- if and $c.securityToken (not $c.accessKey) -}}
{{- $problems = append $problems "credentials.securityToken belongs to temporary keys: give credentials.accessKey and credentials.secretKey too" -}}
{{- end -}}
{{- $source := include "hssgate.credentialsSource" . -}}
{{- if and (eq $source "Files") (not $c.existingSecret) (not $c.accessKey) (not $v.simulator.enabled) -}}
{{- $problems = append $problems "credentials.source Files needs credentials.existingSecret, or credentials.accessKey and credentials.secretKey" -}}
{{- end -}}
{{- if and (eq $source "TokenFile") (not $c.existingSecret) (not $c.token) -}}
{{- $problems = append $problems "credentials.source TokenFile needs credentials.existingSecret or credentials.token" -}}
{{- end -}}
{{- if ne (eq $source "OIDC") (not (empty $c.oidc.identityProviderID)) -}}
{{- $problems = append $problems "credentials.source OIDC needs credentials.oidc.identityProviderID, and no other source uses it" -}}
{{- end -}}
{{- if and (has $source (list "PodIdentity" "Metadata" "Environment" "OIDC")) (or $c.existingSecret $c.accessKey $c.token) -}}
{{- $problems = append $problems (printf "credentials.source %s reads no Secret: leave existingSecret, accessKey, secretKey and token empty" $source) -}}
{{- end -}}
{{- if and $v.certManager.enabled (or $v.certificates.existingSecret $v.webhook.caBundle) -}}
{{- $problems = append $problems "certManager.enabled fills in certificate and caBundle: leave certificates.existingSecret and webhook.caBundle empty" -}}
{{- end -}}
{{- if and $v.certManager.enabled $v.webhook.url -}}
{{- $problems = append $problems "certManager.enabled makes a certificate for the Service, and webhook.url asks a gate elsewhere: give webhook.caBundle in its place" -}}
{{- end -}}
{{- if and $v.certificates.existingSecret (not $v.webhook.caBundle) -}}
{{- $problems = append $problems "certificates.existingSecret needs webhook.caBundle: the CA that the API server is to trust" -}}
{{- end -}}
{{- if and $v.webhook.caBundle (not $v.certificates.existingSecret) (not $v.webhook.url) -}}
{{- $problems = append $problems "webhook.caBundle belongs to certificates.existingSecret or webhook.url: otherwise hssgate fills it in" -}}
{{- end -}}
{{- if and $v.clientCertificates.enabled (not $v.clientCertificates.configMap) -}}
{{- $problems = append $problems "clientCertificates.enabled needs clientCertificates.configMap, which holds the CAs" -}}
{{- end -}}
{{- if and $v.exemptions.label (not $v.exemptions.guard.enabled) -}}
{{- $problems = append $problems "exemptions.label needs exemptions.guard.enabled: users who may label a namespace could get past hssgate" -}}
{{- end -}}
{{- if and $v.exemptions.guard.namespaceLabels (not $v.exemptions.guard.enabled) -}}
{{- $problems = append $problems "exemptions.guard.namespaceLabels needs exemptions.guard.enabled, which guards them" -}}
{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}
{{- $problems = append $problems "metrics.serviceMonitor and metrics.podMonitor would read every metric twice: enable one" -}}
{{- end -}}
{{- if and $v.metrics.secure $v.metrics.podMonitor.enabled -}}
{{- $problems = append $problems "metrics.secure needs a bearer token, which a PodMonitor has not: enable metrics.serviceMonitor in its place" -}}
{{- end -}}
{{- if and (eq $v.mode "enforce") $deployed (not (kindIs "invalid" $v.replicas)) (lt (int $v.replicas) 2) (eq (include "hssgate.failurePolicy" .) "Fail") -}}
{{- $problems = append $problems "mode enforce needs replicas: 2 or more, since with one each restart refuses pods; to have it nevertheless, set webhook.failurePolicy: Ignore" -}}
{{- end -}}
{{- if and $v.test.enabled (has $v.test.namespace (append $v.exemptions.namespaces "kube-system")) -}}
{{- $problems = append $problems (printf "test.namespace %s is exempt, so the API server does not call hssgate for its pods: name a namespace that is not, or set test.enabled: false" $v.test.namespace) -}}
{{- end -}}
{{- $ports := list (int $v.ports.webhook) (int $v.ports.health) (int $v.ports.metrics) -}}
{{- if lt (len (uniq $ports)) 3 -}}
{{- $problems = append $problems "ports.webhook, ports.health and ports.metrics must differ" -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values don't fit together:\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end }}

{{/* Names that other charts have for values, which values.schema.json lets through to here. */}}
{{- define "hssgate.misnamed" -}}
annotations: commonAnnotations
containerSecurityContext: securityContext
env: extraEnv
existingSecret: credentials.existingSecret
extraManifests: extraObjects
failurePolicy: webhook.failurePolicy
labels: commonLabels
pdb: podDisruptionBudget
region: hss.region
replicaCount: replicas
serviceMonitor: metrics.serviceMonitor
volumeMounts: extraVolumeMounts
volumes: extraVolumes
{{- end }}
