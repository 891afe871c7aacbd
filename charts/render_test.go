package charts_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hssgate/hssgate/charts"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func deployment(t testing.TB, args ...string) *appsv1.Deployment {
	t.Helper()
	return decode[appsv1.Deployment](t, render(t, args...).one(t, "Deployment"))
}

// webhooks returns those of all configurations, by their names.
func webhooks(t testing.TB, args ...string) map[string]map[string]any {
	t.Helper()
	byName := map[string]map[string]any{}
	for _, configuration := range render(t, args...) {
		all, _, _ := unstructured.NestedSlice(configuration.Object, "webhooks")
		for _, webhook := range all {
			webhook := webhook.(map[string]any)
			byName[webhook["name"].(string)] = webhook
		}
	}
	return byName
}

const pinned = "pin.enabled=true"

// TestRenderedValues looks for what values come to in what is rendered.
func TestRenderedValues(t *testing.T) {
	t.Parallel()
	const (
		digest    = "sha256:4026e8d3a7a60bf7e7b0c06f27aca20077729b41f7ca4c6b7e854c46e91d59f8"
		pods      = `ValidatingWebhookConfiguration .webhooks[?(@.name=="pods.hssgate.io")]`
		workloads = `ValidatingWebhookConfiguration .webhooks[?(@.name=="workloads.hssgate.io")]`
		policies  = `ValidatingWebhookConfiguration .webhooks[?(@.name=="policies.hssgate.io")]`
		pod       = "Deployment .spec.template.spec"
		app       = pod + ".containers[0]"
		simulator = "Deployment/hssgate-simulator .spec.template.spec.containers[0]"
		goMemory  = app + `.env[?(@.name=="GOMEMLIMIT")].value` // a part of the container's limit
		probes    = "Pod .spec.containers[*].name"
		listPods  = `ClusterRole/hssgate .rules[?(@.resources[0]=="pods")].verbs`
		project   = "Configuration .projects[0]"
		hook      = ` .metadata.annotations['helm\.sh/hook']`
		ca        = "-----BEGIN CERTIFICATE-----"
	)
	type wants = map[string]string
	for name, test := range map[string]struct {
		values []string
		want   wants
	}{
		"mode audit breaks nothing": {working(), wants{
			pods + ".failurePolicy": "Ignore", workloads + ".failurePolicy": "Ignore",
			pods + ".matchPolicy": "Equivalent", pods + ".sideEffects": "NoneOnDryRun", pods + ".objectSelector": "", // users could choose labels
			`ValidatingWebhookConfiguration .webhooks[?(@.name=="extra-workloads.hssgate.io")].name`: "",
			app + ".image": "ghcr.io/hssgate/hssgate:v0.1.0", probes: "hss webhook api-server", listPods: `["list"]`,
			"Configuration .dryRun": "true", "Configuration .registries[0].hosts": `["swr.cn-north-4.myhuaweicloud.com"]`,
			project + ".credentials": `{"source":"Default"}`, project + ".scanOnDemand": "", // no scan is requested
			"Configuration .webhook.hosts":    `["hssgate.hssgate-system.svc","hssgate.hssgate-system.svc.cluster.local"]`,
			"Configuration .webhook.caSecret": "hssgate-serving-ca", "Configuration .webhook.mutatingConfigurationName": "",
			`CustomResourceDefinition .metadata.annotations['helm\.sh/resource-policy']`: "keep keep keep",
		}},
		"mode enforce lets nothing past": {working("mode=enforce", "image.tag=v1", "resources.limits.memory=512Mi", "clientCertificates.enabled=true",
			"clientCertificates.configMap=ca", "hss.projectID=0a1b2c3d4e5f60718293a4b5c6d7e8f9", "credentials.existingSecret=keys", "fullnameOverride=gate", pinned,
			"hss.scanOnDemand.maxPerHour=5", "exemptions.namespaces={calico-system}", "messages.language=zh-CN"), wants{
			"Configuration .messages.language": "zh-CN",
			pods + ".failurePolicy":            "Fail", workloads + ".failurePolicy": "Fail", pods + ".timeoutSeconds": "5",
			policies + ".failurePolicy": "Ignore",                                                                      // they stay editable while hssgate is away
			app + ".image":              "ghcr.io/hssgate/hssgate:v1", goMemory: "348966092", probes: "hss api-server", // which has no client certificate
			"Configuration .dryRun": "false", project + ".region": "cn-north-4", project + ".projectID": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
			project + ".credentials":          `{"accessKeyFile":"/etc/hssgate/credentials/access-key","secretKeyFile":"/etc/hssgate/credentials/secret-key","source":"Files"}`,
			project + ".scanOnDemand.enabled": "", "Configuration .webhook.configurationName": "gate", "Configuration .webhook.mutatingConfigurationName": "gate",
			"Configuration .exemptNamespaces": `["kube-system","hssgate-system","calico-system"]`,
			// It is never away: while all replicas terminate, the Service uses those that are ready, and each answers the longest review (30 s).
			"Deployment .spec.replicas": "2", "Deployment .spec.strategy.rollingUpdate.maxUnavailable": "0", pod + ".priorityClassName": "system-cluster-critical",
			app + ".readinessProbe.httpGet.path": "/readyz?exclude=stopping", app + ".lifecycle.preStop.sleep.seconds": "5", pod + ".terminationGracePeriodSeconds": "60",
			pod + ".topologySpreadConstraints[*].topologyKey": "kubernetes.io/hostname topology.kubernetes.io/zone",
		}},
		"mode enforce with other means": {working("mode=enforce", "dryRun=true", "webhook.failurePolicy=Ignore", "image.tag=v1", "image.digest="+digest,
			"resources.limits.memory=1Gi", "test.enabled=false", "replicas=null", "credentials.accessKey=a", "credentials.secretKey=s", "credentials.securityToken=t",
			"certManager.enabled=true", pinned, "hss.scanOnDemand.enabled=true", "hss.scanOnDemand.maxPerHour=5", "crds.keep=false"), wants{
			pods + ".failurePolicy": "Ignore", app + ".image": "ghcr.io/hssgate/hssgate@" + digest, goMemory: "697932185", probes: "", "Configuration .dryRun": "true",
			"Deployment .spec.replicas": "", // an autoscaler's
			project + ".credentials": `{"accessKeyFile":"/etc/hssgate/credentials/access-key","secretKeyFile":"/etc/hssgate/credentials/secret-key",` +
				`"securityTokenFile":"/etc/hssgate/credentials/security-token","source":"Files"}`,
			project + ".scanOnDemand": `{"enabled":true,"maxPerHour":5}`, "Configuration .webhook.certDir": "/etc/hssgate/tls",
			"Configuration .webhook.mutatingConfigurationName":                                      "", // cert-manager fills in the caBundle
			`MutatingWebhookConfiguration .metadata.annotations['cert-manager\.io/inject-ca-from']`: "hssgate-system/hssgate",
			`CustomResourceDefinition .metadata.annotations['helm\.sh/resource-policy']`:            "",
		}},
		"mode audit may deny": {working("webhook.failurePolicy=Fail", "resources.limits.memory=500M", "rbac.create=false", "credentials.token=t", "dryRun=false"), wants{
			pods + ".failurePolicy": "Fail", goMemory: "325000000", probes: "hss webhook api-server", "Configuration .dryRun": "false",
			project + ".credentials": `{"source":"TokenFile","tokenFile":"/etc/hssgate/credentials/token"}`,
		}},
		"a token that IAM exchanges": {working("credentials.oidc.identityProviderID=my-cluster", "credentials.oidc.audience=iam"), wants{
			project + ".credentials":                                                                        `{"identityProviderID":"my-cluster","source":"OIDC","tokenFile":"/etc/hssgate/credentials/token"}`,
			pod + `.volumes[?(@.name=="credentials")].projected.sources`:                                    `[{"serviceAccountToken":{"audience":"iam","expirationSeconds":3600,"path":"token"}}]`,
			app + `.volumeMounts[?(@.name=="credentials")].mountPath`:                                       "/etc/hssgate/credentials",
			`Pod .spec.volumes[?(@.name=="credentials")].projected.sources[0].serviceAccountToken.audience`: "iam",
		}},
		"the warm-up alone lists pods": {working("resources.limits.memory=1000000000", "config.audit.enabled=false"), wants{goMemory: "650000000", listPods: `["list"]`}},
		"a part of a Gi":               {working("resources.limits.memory=0.5Gi", "crds.enabled=false"), wants{goMemory: "", "CustomResourceDefinition .kind": ""}},
		"a project by --set": {set("config.projects[0].name=a", "config.projects[0].region=cn-north-4", "config.registries[0].name=r", "config.registries[0].hosts={r.example.com}",
			"config.projects[0].requestsPerSecond=0.5", "config.projects[0].scanOnDemand.enabled=true", "config.projects[0].scanOnDemand.maxPerHour=5"), wants{
			project + ".requestsPerSecond": "0.5", project + ".scanOnDemand": `{"enabled":true,"maxPerHour":5}`,
		}},
		"names that other charts have, too": {[]string{"--values", "hssgate/ci/common-values.yaml"}, wants{
			app + ".image": "registry.example.com/hssgate/hssgate:v0.1.0 registry.example.com/hssgate/hss-simulator:v0.1.0",
			"Pod " + ".spec.imagePullSecrets[*].name": "own shared own shared", pod + ".imagePullSecrets[*].name": "own shared own shared",
			"Deployment/hssgate .spec.template.spec.hostAliases[0].ip": "10.0.0.8", "Pod .spec.hostAliases[0].ip": "10.0.0.8",
			"Deployment/hssgate .spec.template.spec.dnsPolicy": "None", "Pod .spec.dnsConfig.nameservers[0]": "10.0.0.53",
			app + ".livenessProbe.periodSeconds": "20", app + ".livenessProbe.failureThreshold": "6", app + ".readinessProbe.timeoutSeconds": "4",
			app + ".startupProbe.failureThreshold":                  "60",
			"ConfigMap/hssgate-simulator .data['inventory\\.yaml']": "images:\n- image_name: app\n  image_type: private_image\n  image_version: \"1\"\n  namespace: prod\n  scan_status: success\n  severity_level: Low",
			"Service/hssgate .metadata.namespace":                   "gate", "ValidatingWebhookConfiguration .webhooks[0].clientConfig.service.namespace": "gate",
			"ClusterRoleBinding/hssgate .subjects[0].namespace": "gate", "Configuration .exemptNamespaces": `["kube-system","gate"]`,
			"ConfigMap/extra .metadata.labels.of": "hssgate", "ConfigMap/text .data.namespace": "gate",
			"ServiceMonitor .spec.endpoints[0].relabelings[*].targetLabel": "job cluster", "ServiceMonitor .spec.endpoints[0].metricRelabelings[*].action": "labeldrop",
			"ServiceMonitor .spec.endpoints[0].scrapeTimeout": "5s",
		}},
		"a simulated HSS": {set("simulator.enabled=true", "networkPolicy.enabled=true"), wants{
			project:              `{"credentials":{"accessKeyFile":"/etc/hssgate/credentials/access-key","secretKeyFile":"/etc/hssgate/credentials/secret-key","source":"Files"},"endpoint":"http://hssgate-simulator.hssgate-system.svc:8443","insecure":true,"name":"simulated","projectID":"simulated"}`,
			simulator + ".image": "ghcr.io/hssgate/hss-simulator:v0.1.0",
			"Service/hssgate-simulator .spec.selector['app\\.kubernetes\\.io/component']": "simulator", "Configuration .cache.freshFor": "5s",
			"Deployment/hssgate .metadata.annotations['hssgate\\.io/warning']":                                 "HSS is simulated (simulator.enabled), so nothing is scanned. For tests only, never for a cluster that is to be safe.",
			"NetworkPolicy/hssgate-simulator .spec.podSelector.matchLabels['app\\.kubernetes\\.io/component']": "simulator",
		}},
		"a project keeps its credentials": {[]string{"--values", "hssgate/ci/everything-values.yaml"}, wants{"Configuration .projects[1].credentials.source": "Metadata"}},
		"a gate elsewhere": {set("webhook.url=https://gate.example.com:9443", "webhook.caBundle="+ca, pinned), wants{
			policies + ".clientConfig.url": "https://gate.example.com:9443/validate-policy", probes: "api-server",
			"MutatingWebhookConfiguration .webhooks[0].clientConfig": fmt.Sprintf(`{"caBundle":%q,"url":"https://gate.example.com:9443/mutate"}`, base64.StdEncoding.EncodeToString([]byte(ca))),
			"Deployment .kind": "", "Service .kind": "", "Configuration .kind": "", "Secret .kind": "", "Lease .kind": "", "PodDisruptionBudget .kind": "",
		}},
		"a narrow network policy lets helm test to the gate": {working("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={10.0.0.0/24}", "networkPolicy.hss.cidrs={100.125.0.0/16}"), wants{
			"NetworkPolicy .spec.podSelector.matchLabels":                `{"app.kubernetes.io/instance":"hssgate","app.kubernetes.io/name":"hssgate"}`,
			"NetworkPolicy .spec.podSelector.matchExpressions[0].values": `["gate","test"]`,
			"NetworkPolicy .spec.ingress[0].ports[0].port":               "webhook", "NetworkPolicy .spec.egress[1].ports[0].port": "webhook",
			"NetworkPolicy .spec.ingress[0].from[1].podSelector.matchLabels": `{"app.kubernetes.io/component":"test","app.kubernetes.io/instance":"hssgate"}`,
			"NetworkPolicy .spec.egress[1].to[0].podSelector.matchLabels":    `{"app.kubernetes.io/component":"gate","app.kubernetes.io/instance":"hssgate","app.kubernetes.io/name":"hssgate"}`,
			`Pod .metadata.labels['app\.kubernetes\.io/component']`:          "test test", `Deployment .spec.template.metadata.labels['app\.kubernetes\.io/component']`: "gate",
		}},
		"helm test may only create pods in its namespace, while it runs": {working("test.namespace=team-a"), wants{
			"Role/hssgate-test .rules": `[{"apiGroups":[""],"resources":["pods"],"verbs":["create"]}]`, "Role/hssgate-test .metadata.namespace": "team-a",
			"RoleBinding/hssgate-test .metadata.namespace": "team-a", "Role/hssgate-test" + hook: "test", "RoleBinding/hssgate-test" + hook: "test",
			"ServiceAccount/hssgate-test" + hook: "test",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered, got := render(t, test.values...), wants{}
			for where := range test.want {
				got[where] = rendered.at(t, where)
			}
			equal(t, "values", test.want, got)
		})
	}
}

// TestEveryObjectHasTheCommonAnnotationsAndTheNamespace includes the objects that users add no annotations to elsewhere.
func TestEveryObjectHasTheCommonAnnotationsAndTheNamespace(t *testing.T) {
	t.Parallel()
	for _, object := range render(t, "--values", "hssgate/ci/common-values.yaml", "--set", "certManager.enabled=true", "--set", pinned, "--set", "rbac.exceptionEditor=true") {
		if object.GetKind() == "Configuration" || slices.Contains([]string{"extra", "text"}, object.GetName()) {
			continue
		}
		if got := object.GetAnnotations()["example.com/owner"]; got != "platform" {
			t.Errorf("%s %s has the annotation %q, want platform", object.GetKind(), object.GetName(), got)
		}
		if got := object.GetNamespace(); got != "" && got != "gate" && got != "default" { // default: helm test
			t.Errorf("%s %s is in namespace %s, want gate", object.GetKind(), object.GetName(), got)
		}
	}
}

// TestTheMemoryLimitHoldsWhatIsAllowedInMemory keeps the default limit in step
// with the configuration's own bounds, as docs/performance.md reckons.
func TestTheMemoryLimitHoldsWhatIsAllowedInMemory(t *testing.T) {
	t.Parallel()
	c := config.Default()
	needed := 100<<20 + 2*int64(c.Cache.MaxBytes) + 2*int64(c.Webhook.MaxInFlightBytes)
	limit := deployment(t, working()...).Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value()
	if limit < needed || limit > 2*needed {
		t.Errorf("the limit is %d Mi, and %d Mi may be needed", limit>>20, needed>>20)
	}
}

func TestConfigurationReplacesPods(t *testing.T) {
	t.Parallel()
	checksum := func(values ...string) string {
		return deployment(t, working(values...)...).Spec.Template.Annotations["checksum/config"]
	}
	if checksum() == checksum("config.cache.freshFor=7m") {
		t.Error("another configuration has the same checksum")
	}
	equal(t, "checksums of one configuration", checksum(), checksum("replicas=5"))
}

func TestExtraWorkloadsAreAskedAboutAsOthers(t *testing.T) {
	t.Parallel()
	const value = `webhook.extraWorkloads=[{"apiGroups":["argoproj.io"],"apiVersions":["v1alpha1"],"resources":["rollouts","workflows"]}]`
	all := webhooks(t, append(working(), "--set-json", value)...)
	extra, workloads := all["extra-workloads.hssgate.io"], all["workloads.hssgate.io"]
	want := `[{"apiGroups":["argoproj.io"],"apiVersions":["v1alpha1"],"operations":["CREATE","UPDATE"],"resources":["rollouts","workflows"],"scope":"Namespaced"}]`
	rules, err := json.Marshal(extra["rules"])
	must(t, err)
	equal(t, "rules", want, string(rules))
	for _, field := range []string{"name", "rules", "matchConditions"} {
		extra[field] = workloads[field]
	}
	equal(t, "else as for workloads", workloads, extra)
}

// TestWebhooksAskAboutEveryKindThatHoldsImages keeps the rules in step with what
// hssgate can evaluate.
func TestWebhooksAskAboutEveryKindThatHoldsImages(t *testing.T) {
	t.Parallel()
	kinds := map[string]string{
		"/pods": "Pod", "/replicationcontrollers": "ReplicationController", "/podtemplates": "PodTemplate",
		"apps/deployments": "Deployment", "apps/statefulsets": "StatefulSet", "apps/daemonsets": "DaemonSet", "apps/replicasets": "ReplicaSet",
		"batch/jobs": "Job", "batch/cronjobs": "CronJob",
	}
	asked := map[string]bool{}
	configuration := decode[admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t, working()...).one(t, "ValidatingWebhookConfiguration"))
	for _, webhook := range configuration.Webhooks[:2] {
		for _, rule := range webhook.Rules {
			for _, resource := range rule.Resources {
				key := rule.APIGroups[0] + "/" + strings.TrimSuffix(resource, "/ephemeralcontainers")
				asked[key] = true
				if !image.HoldsImages(rule.APIGroups[0], kinds[key]) {
					t.Errorf("%s asks about %s, which hssgate finds no images in", webhook.Name, key)
				}
			}
		}
	}
	equal(t, "kinds that are asked about", slices.Sorted(maps.Keys(kinds)), slices.Sorted(maps.Keys(asked)))
}

func TestTheWebhookThatPins(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mode=audit", "mode=enforce"} {
		all := webhooks(t, working(mode, pinned, "exemptions.namespaces={calico-system}", "exemptions.label=hssgate.io/exempt",
			"webhook.matchConditions[0].name=mine", "webhook.matchConditions[0].expression=1 == 1")...)
		evaluating, pin := all["pods.hssgate.io"], all["pin.hssgate.io"]
		for _, field := range []string{"rules", "namespaceSelector", "objectSelector", "timeoutSeconds", "matchPolicy"} {
			equal(t, fmt.Sprintf("%s, %s", mode, field), evaluating[field], pin[field])
		}
		conditions, _ := pin["matchConditions"].([]any)
		got := []any{pin["failurePolicy"], pin["reinvocationPolicy"], pin["sideEffects"]}
		for _, condition := range conditions {
			got = append(got, condition.(map[string]any)["name"])
		}
		equal(t, mode, []any{"Ignore", "IfNeeded", "None", "images-may-be-new", "some-image-has-no-digest", "mine"}, got)
	}
	if manifests, err := template(t, working()...); err != nil || strings.Contains(strings.ToLower(manifests), "mutating") {
		t.Errorf("by default something in the chart is about mutating, or %v", err)
	}
}

func TestPresetsAreValidPoliciesAndAuditShowsWhatBaselineWouldDeny(t *testing.T) {
	t.Parallel()
	specs := map[string]v1alpha1.ImageScanPolicySpec{}
	for _, preset := range []string{"audit", "baseline", "strict"} {
		args := append(working("policies.preset="+preset, "policies.namespaceSelector.matchLabels.env=prod"), "--api-versions", "hssgate.io/v1alpha1/ImageScanPolicy")
		p := decode[v1alpha1.ImageScanPolicy](t, render(t, args...).one(t, "ImageScanPolicy"))
		specs[preset] = p.Spec
		if _, problems := policy.Compile(p); len(problems) > 0 {
			t.Errorf("preset %s: %v", preset, problems)
		}
		if denies := p.Spec.Enforcement == v1alpha1.EnforcementDeny; denies == (preset == "audit") {
			t.Errorf("preset %s has enforcement %s", preset, p.Spec.Enforcement)
		}
		if p.Spec.Match.NamespaceSelector.MatchLabels["env"] != "prod" {
			t.Errorf("preset %s: got match %+v, want label env=prod", preset, p.Spec.Match)
		}
	}
	equal(t, "what baseline and audit require", specs["baseline"].Require, specs["audit"].Require)
}

func TestCustomResourceDefinitions(t *testing.T) {
	t.Parallel()
	manifests, err := charts.CustomResourceDefinitions()
	must(t, err)
	found := render(t, working()...).ofKind("CustomResourceDefinition")
	if len(found) != len(manifests) {
		t.Fatalf("got %d CRDs, want %d", len(found), len(manifests))
	}
	for i, want := range parse(t, "---\n"+string(bytes.Join(manifests, []byte("\n---\n")))) {
		equal(t, want.GetName(), want.Object["spec"], found[i].Object["spec"])
	}
}

func TestTheNetworkPolicyLetsSpansOut(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"http://collector/otlp": "80", "https://collector.example.com": "443", "http://[fd00::1]:14318/": "14318", "": "",
	} {
		rendered := render(t, working("networkPolicy.enabled=true", "networkPolicy.hss.ports={444}",
			"networkPolicy.apiServer.ports={6443}", "tracing.endpoint="+endpoint, "networkPolicy.tracesTo[0].podSelector.matchLabels.app=collector")...)
		equal(t, endpoint, want, rendered.at(t, `NetworkPolicy .spec.egress[?(@.to[0].podSelector.matchLabels.app=="collector")].ports[0].port`))
	}
}

// TestHelmTestCallsHSSAsTheGateDoes: by the same configuration, keys, environment
// and service account. It needs neither the webhook's certificates nor what only a
// server reads.
func TestHelmTestCallsHSSAsTheGateDoes(t *testing.T) {
	t.Parallel()
	isServers := func(name string) bool {
		return slices.Contains([]string{"tls", "client-ca", "POD_NAMESPACE", "GOMEMLIMIT"}, name) || strings.HasPrefix(name, "OTEL_")
	}
	wayOf := func(pod *corev1.PodSpec) []any {
		app := pod.Containers[0]
		return []any{
			pod.ServiceAccountName, app.EnvFrom,
			slices.DeleteFunc(app.Env, func(v corev1.EnvVar) bool { return isServers(v.Name) }),
			slices.DeleteFunc(app.VolumeMounts, func(m corev1.VolumeMount) bool { return isServers(m.Name) }),
			slices.DeleteFunc(pod.Volumes, func(v corev1.Volume) bool { return isServers(v.Name) }),
		}
	}
	for _, file := range valuesFiles(t) {
		rendered := render(t, "--values", file)
		for _, gate := range rendered.ofKind("Deployment") {
			if strings.HasSuffix(gate.GetName(), "-simulator") {
				continue
			}
			test := decode[corev1.Pod](t, rendered.named(t, "Pod", gate.GetName()+"-test-hss"))
			equal(t, file, wayOf(&decode[appsv1.Deployment](t, gate).Spec.Template.Spec), wayOf(&test.Spec), cmpopts.EquateEmpty())
		}
	}
}

// TestSecretsOfValuesAppearOnlyInTheirSecret looks for them in everything else.
func TestSecretsOfValuesAppearOnlyInTheirSecret(t *testing.T) {
	t.Parallel()
	rendered := render(t, "--values", "hssgate/ci/credentials-values.yaml")
	own := rendered.named(t, "Secret", "hssgate-credentials")
	equal(t, "the key", "example-secret-key", string(decode[corev1.Secret](t, own).Data["secret-key"]))
	for _, object := range rendered {
		if text := fmt.Sprint(object.Object); object != own && (strings.Contains(text, "example-secret-key") || strings.Contains(text, "example-security-token")) {
			t.Errorf("%s %q holds a secret", object.GetKind(), object.GetName())
		}
	}
}

func TestConfigurationOfEveryValuesFileIsValid(t *testing.T) {
	t.Parallel()
	for _, file := range valuesFiles(t) {
		text := render(t, "--values", file).at(t, `ConfigMap .data['config\.yaml']`)
		if _, err := config.Parse(file, []byte(text)); err != nil && text != "" {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
