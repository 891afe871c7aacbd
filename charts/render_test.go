package charts_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/charts"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func deployment(t testing.TB, args ...string) *appsv1.Deployment {
	t.Helper()
	return decode[appsv1.Deployment](t, render(t, args...).one(t, "Deployment"))
}

func webhooks(t testing.TB, args ...string) map[string]admissionregistrationv1.ValidatingWebhook {
	t.Helper()
	configuration := decode[admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t, args...).one(t, "ValidatingWebhookConfiguration"))
	byName := map[string]admissionregistrationv1.ValidatingWebhook{}
	for _, webhook := range configuration.Webhooks {
		byName[webhook.Name] = webhook
	}
	return byName
}

func TestModes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values []string
		want   string
	}{
		"audit breaks nothing":        {nil, "Ignore"},
		"enforce lets nothing past":   {[]string{"mode=enforce"}, "Fail"},
		"enforce may ignore failures": {[]string{"mode=enforce", "webhook.failurePolicy=Ignore"}, "Ignore"},
		"audit may fail":              {[]string{"webhook.failurePolicy=Fail"}, "Fail"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := webhooks(t, working(test.values...)...)
			for _, webhook := range []string{"pods.hssgate.io", "workloads.hssgate.io"} {
				if got := string(*all[webhook].FailurePolicy); got != test.want {
					t.Errorf("%s: got failurePolicy %s, want %s", webhook, got, test.want)
				}
			}
			// Policies must stay editable while hssgate is away.
			if got := string(*all["policies.hssgate.io"].FailurePolicy); got != "Ignore" {
				t.Errorf("policies.hssgate.io: got failurePolicy %s, want Ignore", got)
			}
		})
	}
}

func TestEnforcingDeploymentIsNeverAway(t *testing.T) {
	t.Parallel()
	d := deployment(t, working("mode=enforce")...)
	pod := d.Spec.Template.Spec
	if *d.Spec.Replicas < 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("got %d replicas, of which %v may be away, want 2 and 0", *d.Spec.Replicas, d.Spec.Strategy.RollingUpdate.MaxUnavailable)
	}
	app := pod.Containers[0]
	// While all replicas terminate, the Service uses those that are ready.
	if got := app.ReadinessProbe.HTTPGet.Path; got != "/readyz?exclude=stopping" {
		t.Errorf("got readiness probe %s, which fails while the replica still serves", got)
	}
	if app.Lifecycle.PreStop.Sleep == nil || app.Lifecycle.PreStop.Sleep.Seconds < 1 {
		t.Errorf("got preStop %+v, want a pause", app.Lifecycle.PreStop)
	}
	const shutdownDelay, longestReview = 10, 30
	if least := app.Lifecycle.PreStop.Sleep.Seconds + shutdownDelay + longestReview; *pod.TerminationGracePeriodSeconds < least {
		t.Errorf("got %d s to stop in, which takes up to %d s", *pod.TerminationGracePeriodSeconds, least)
	}
	if pod.PriorityClassName != "system-cluster-critical" || len(pod.TopologySpreadConstraints) != 2 {
		t.Errorf("got priority class %q and %d constraints, want system-cluster-critical and 2", pod.PriorityClassName, len(pod.TopologySpreadConstraints))
	}
	if got := webhooks(t, working("mode=enforce")...)["pods.hssgate.io"].TimeoutSeconds; *got != 5 {
		t.Errorf("got timeout %d s, want 5 s", *got)
	}
}

// TestPodIsRestricted checks what Pod Security asks of level restricted, and more.
func TestPodIsRestricted(t *testing.T) {
	t.Parallel()
	for _, file := range valuesFiles(t) {
		rendered := render(t, "--values", file)
		var pods []corev1.PodSpec
		for _, object := range rendered.ofKind("Deployment") {
			pods = append(pods, decode[appsv1.Deployment](t, object).Spec.Template.Spec)
		}
		for _, object := range rendered.ofKind("Pod") {
			pods = append(pods, decode[corev1.Pod](t, object).Spec)
		}
		for _, pod := range pods {
			app := pod.Containers[0]
			restricted := *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser == 65532 &&
				pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault &&
				!*app.SecurityContext.AllowPrivilegeEscalation && *app.SecurityContext.ReadOnlyRootFilesystem &&
				slices.Equal(app.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"})
			if !restricted || app.Resources.Limits.Memory().IsZero() || app.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: container %s isn't restricted, or its resources aren't bounded: %+v", file, app.Name, app)
			}
		}
	}
}

func TestGoMemoryLimit(t *testing.T) {
	t.Parallel()
	tests := map[string]string{"512Mi": "348966092", "1Gi": "697932185", "500M": "325000000", "1000000000": "650000000", "0.5Gi": ""}
	for limit, want := range tests {
		got := ""
		for _, variable := range deployment(t, working("resources.limits.memory="+limit)...).Spec.Template.Spec.Containers[0].Env {
			if variable.Name == "GOMEMLIMIT" {
				got = variable.Value
			}
		}
		if got != want {
			t.Errorf("limit %s: got GOMEMLIMIT %q, want %q", limit, got, want)
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
	if checksum() == checksum("config.logging.level=debug") {
		t.Error("another configuration has the same checksum")
	}
	if checksum() != checksum("replicas=5") {
		t.Error("the same configuration has another checksum")
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	const digest = "sha256:4026e8d3a7a60bf7e7b0c06f27aca20077729b41f7ca4c6b7e854c46e91d59f8"
	tests := map[string]struct {
		values []string
		want   string
	}{
		"it is the release's own":  {nil, "ghcr.io/hssgate/hssgate:v0.1.0"},
		"a tag":                    {[]string{"image.tag=v1"}, "ghcr.io/hssgate/hssgate:v1"},
		"a digest wins over a tag": {[]string{"image.tag=v1", "image.digest=" + digest}, "ghcr.io/hssgate/hssgate@" + digest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := deployment(t, working(test.values...)...).Spec.Template.Spec.Containers[0].Image; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestWebhooksAskAboutExtraWorkloads(t *testing.T) {
	t.Parallel()
	if _, there := webhooks(t, working()...)["extra-workloads.hssgate.io"]; there {
		t.Error("by default there is a webhook for extra workloads")
	}
	const value = `webhook.extraWorkloads=[{"apiGroups":["argoproj.io"],"apiVersions":["v1alpha1"],"resources":["rollouts","workflows"]},{"apiGroups":["serving.knative.dev"],"apiVersions":["*"],"resources":["services"]}]`
	all := webhooks(t, append(working(), "--set-json", value)...)
	extra, workloads := all["extra-workloads.hssgate.io"], all["workloads.hssgate.io"]
	var got []string
	for _, rule := range extra.Rules {
		got = append(got, fmt.Sprint(rule.APIGroups, rule.APIVersions, rule.Resources, rule.Operations, *rule.Scope))
	}
	want := []string{"[argoproj.io] [v1alpha1] [rollouts workflows] [CREATE UPDATE]Namespaced", "[serving.knative.dev] [*] [services] [CREATE UPDATE]Namespaced"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	extra.Name, extra.Rules, extra.MatchConditions = workloads.Name, workloads.Rules, workloads.MatchConditions
	if diff := cmp.Diff(workloads, extra); diff != "" {
		t.Errorf("else as for workloads (-workloads +extra):\n%s", diff)
	}
}

// TestWebhooksAskAboutEveryKindThatHoldsImages keeps the rules in step with what
// hssgate can judge.
func TestWebhooksAskAboutEveryKindThatHoldsImages(t *testing.T) {
	t.Parallel()
	kinds := map[string]string{
		"/pods": "Pod", "/replicationcontrollers": "ReplicationController", "/podtemplates": "PodTemplate",
		"apps/deployments": "Deployment", "apps/statefulsets": "StatefulSet", "apps/daemonsets": "DaemonSet", "apps/replicasets": "ReplicaSet",
		"batch/jobs": "Job", "batch/cronjobs": "CronJob",
	}
	asked := map[string]bool{}
	all := webhooks(t, working()...)
	for _, name := range []string{"pods.hssgate.io", "workloads.hssgate.io"} {
		for _, rule := range all[name].Rules {
			for _, resource := range rule.Resources {
				key := rule.APIGroups[0] + "/" + strings.TrimSuffix(resource, "/ephemeralcontainers")
				asked[key] = true
				if !image.HoldsImages(rule.APIGroups[0], kinds[key]) {
					t.Errorf("%s asks about %s, which hssgate finds no images in", name, key)
				}
			}
		}
		if webhook := all[name]; *webhook.MatchPolicy != "Equivalent" || *webhook.SideEffects != "NoneOnDryRun" || webhook.ObjectSelector != nil {
			t.Errorf("%s: got %+v, want matchPolicy Equivalent, sideEffects NoneOnDryRun and no objectSelector, which users could choose", name, webhook)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(kinds)), slices.Sorted(maps.Keys(asked))); diff != "" {
		t.Errorf("-want +asked:\n%s", diff)
	}
}

func TestPresetsAreValidPolicies(t *testing.T) {
	t.Parallel()
	for _, preset := range []string{"audit", "baseline", "strict"} {
		args := append(working("policies.preset="+preset, "policies.namespaceSelector.matchLabels.env=prod"), "--api-versions", "hssgate.io/v1alpha1/ImageScanPolicy")
		p := decode[v1alpha1.ImageScanPolicy](t, render(t, args...).one(t, "ImageScanPolicy"))
		if problems := policy.Validate(p); len(problems) > 0 {
			t.Errorf("preset %s: %v", preset, problems)
		}
		if denies := p.Spec.Enforcement == v1alpha1.EnforcementDeny; denies == (preset == "audit") {
			t.Errorf("preset %s has enforcement %s", preset, p.Spec.Enforcement)
		}
		if p.Spec.Match.NamespaceSelector.MatchLabels["env"] != "prod" {
			t.Errorf("preset %s: got match %+v, want label env=prod", preset, p.Spec.Match)
		}
	}
}

// TestAuditPresetAsksWhatBaselineAsks: otherwise it wouldn't show what is coming.
func TestAuditPresetAsksWhatBaselineAsks(t *testing.T) {
	t.Parallel()
	preset := func(name string) *v1alpha1.ImageScanPolicy {
		args := append(working("policies.preset="+name), "--api-versions", "hssgate.io/v1alpha1/ImageScanPolicy")
		return decode[v1alpha1.ImageScanPolicy](t, render(t, args...).one(t, "ImageScanPolicy"))
	}
	if diff := cmp.Diff(preset("baseline").Spec.Require, preset("audit").Spec.Require); diff != "" {
		t.Errorf("-baseline +audit:\n%s", diff)
	}
}

func TestCustomResourceDefinitions(t *testing.T) {
	t.Parallel()
	manifests, err := charts.CustomResourceDefinitions()
	if err != nil {
		t.Fatal(err)
	}
	rendered := render(t, working()...).ofKind("CustomResourceDefinition")
	if len(rendered) != len(manifests) {
		t.Fatalf("got %d CRDs, want %d", len(rendered), len(manifests))
	}
	for i, manifest := range manifests {
		var want apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(manifest, &want); err != nil {
			t.Fatal(err)
		}
		got := decode[apiextensionsv1.CustomResourceDefinition](t, rendered[i])
		if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
			t.Errorf("%s: -file +rendered:\n%s", want.Name, diff)
		}
		if got.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s isn't kept when the release is uninstalled", want.Name)
		}
	}
	for _, found := range render(t, working("crds.keep=false")...).ofKind("CustomResourceDefinition") {
		if found.GetAnnotations()["helm.sh/resource-policy"] != "" {
			t.Errorf("with crds.keep=false %s is kept all the same", found.GetName())
		}
	}
	if found := render(t, working("crds.enabled=false")...).ofKind("CustomResourceDefinition"); len(found) != 0 {
		t.Errorf("with crds.enabled=false: got %d CRDs", len(found))
	}
}

func TestGateOutsideOfTheClusterHasNoDeployment(t *testing.T) {
	t.Parallel()
	rendered := render(t, "--values", "hssgate/ci/external-url-values.yaml")
	for _, kind := range []string{"Deployment", "Service", "ConfigMap", "Secret", "Lease", "PodDisruptionBudget"} {
		if found := rendered.ofKind(kind); len(found) > 0 {
			t.Errorf("there is %s %q", kind, found[0].GetName())
		}
	}
	all := webhooks(t, "--values", "hssgate/ci/external-url-values.yaml")
	if got := *all["policies.hssgate.io"].ClientConfig.URL; got != "https://gate.example.com:9443/validate-policy" {
		t.Errorf("got URL %s", got)
	}
}

func TestTheNetworkPolicyLetsSpansOut(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]int{
		"http://collector.observability:4318": 4318, "http://collector/otlp": 80, "https://collector.example.com": 443, "http://[fd00::1]:14318/": 14318, "": 0,
	} {
		policy := decode[networkingv1.NetworkPolicy](t, render(t, working("networkPolicy.enabled=true", "networkPolicy.hss.ports={444}",
			"networkPolicy.apiServer.ports={6443}", "config.tracing.endpoint="+endpoint, "networkPolicy.tracesTo[0].podSelector.matchLabels.app=collector")...).one(t, "NetworkPolicy"))
		got := 0
		for _, rule := range policy.Spec.Egress {
			if len(rule.To) == 1 && rule.To[0].PodSelector != nil && rule.To[0].PodSelector.MatchLabels["app"] == "collector" {
				got = rule.Ports[0].Port.IntValue()
			}
		}
		if got != want {
			t.Errorf("%q: port %d is open, want %d", endpoint, got, want)
		}
	}
}

// TestANarrowNetworkPolicyLetsHelmTestIn follows its pods to the webhook, out and in.
func TestANarrowNetworkPolicyLetsHelmTestIn(t *testing.T) {
	t.Parallel()
	rendered := render(t, working("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={10.0.0.0/24}", "networkPolicy.hss.cidrs={100.125.0.0/16}")...)
	policy := decode[networkingv1.NetworkPolicy](t, rendered.one(t, "NetworkPolicy"))
	gate := labels.Set(decode[appsv1.Deployment](t, rendered.one(t, "Deployment")).Spec.Template.Labels)
	selects := func(of *metav1.LabelSelector, pod labels.Set) bool {
		selector, err := metav1.LabelSelectorAsSelector(of)
		return err == nil && of != nil && selector.Matches(pod)
	}
	pods := rendered.ofKind("Pod")
	if len(pods) == 0 {
		t.Fatal("helm test has no pods")
	}
	for _, pod := range pods {
		test := labels.Set(pod.GetLabels())
		in := slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
			return rule.Ports[0].Port.StrVal == "webhook" && slices.ContainsFunc(rule.From, func(p networkingv1.NetworkPolicyPeer) bool { return selects(p.PodSelector, test) })
		})
		out := slices.ContainsFunc(policy.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
			return rule.Ports[0].Port.StrVal == "webhook" && slices.ContainsFunc(rule.To, func(p networkingv1.NetworkPolicyPeer) bool { return selects(p.PodSelector, gate) })
		})
		if !selects(&policy.Spec.PodSelector, gate) || !selects(&policy.Spec.PodSelector, test) || !in || !out {
			t.Errorf("pod %s: the way in is open: %t, the way out: %t", pod.GetName(), in, out)
		}
	}
}

// TestHelmTestProbesWhatThereIs: each way that exists, and no other.
func TestHelmTestProbesWhatThereIs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values []string
		want   []string
	}{
		"a gate in the cluster":                  {nil, []string{"webhook", "api-server", "hss"}},
		"one that needs client certificates":     {[]string{"clientCertificates.enabled=true", "clientCertificates.configMap=ca"}, []string{"api-server", "hss"}},
		"one outside of the cluster":             {[]string{"webhook.url=https://gate.example.com:9443"}, []string{"api-server"}},
		"a release that is not to be tested":     {[]string{"test.enabled=false"}, nil},
		"roles that the user creates themselves": {[]string{"rbac.create=false"}, []string{"webhook", "api-server", "hss"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered := render(t, working(tt.values...)...)
			var got []string
			pods := rendered.ofKind("Pod")
			slices.SortFunc(pods, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
			for _, object := range pods {
				for _, container := range decode[corev1.Pod](t, object).Spec.Containers {
					got = append(got, container.Name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestHelmTestCallsHSSAsTheGateDoes: by the same configuration, keys, environment
// and service account.
func TestHelmTestCallsHSSAsTheGateDoes(t *testing.T) {
	t.Parallel()
	type way struct {
		ServiceAccount string
		Mounts         map[string]string
		Volumes        map[string]corev1.VolumeSource
		Env            map[string]string
		EnvFrom        []corev1.EnvFromSource
	}
	wayOf := func(pod corev1.PodSpec) way {
		w := way{ServiceAccount: pod.ServiceAccountName, Mounts: map[string]string{}, Volumes: map[string]corev1.VolumeSource{}, Env: map[string]string{}, EnvFrom: pod.Containers[0].EnvFrom}
		// The test needs neither the webhook's certificates nor what only a server reads.
		isServers := func(name string) bool {
			return slices.Contains([]string{"tls", "client-ca", "POD_NAMESPACE", "GOMEMLIMIT"}, name)
		}
		for _, mount := range pod.Containers[0].VolumeMounts {
			if !isServers(mount.Name) {
				w.Mounts[mount.MountPath] = mount.Name
			}
		}
		for _, volume := range pod.Volumes {
			if !isServers(volume.Name) {
				w.Volumes[volume.Name] = volume.VolumeSource
			}
		}
		for _, variable := range pod.Containers[0].Env {
			if !isServers(variable.Name) {
				w.Env[variable.Name] = variable.Value
			}
		}
		return w
	}
	for _, file := range valuesFiles(t) {
		rendered := render(t, "--values", file)
		if len(rendered.ofKind("Deployment")) == 0 {
			continue
		}
		gate := decode[appsv1.Deployment](t, rendered.one(t, "Deployment")).Spec.Template.Spec
		name := rendered.one(t, "Deployment").GetName() + "-test-hss"
		test := decode[corev1.Pod](t, rendered.named(t, "Pod", name)).Spec
		if diff := cmp.Diff(wayOf(gate), wayOf(test)); diff != "" {
			t.Errorf("%s: -gate +test:\n%s", file, diff)
		}
	}
}

// TestHelmTestMayOnlyCreatePodsInItsNamespace: and only while it runs.
func TestHelmTestMayOnlyCreatePodsInItsNamespace(t *testing.T) {
	t.Parallel()
	rendered := render(t, working("test.namespace=team-a")...)
	role := decode[rbacv1.Role](t, rendered.named(t, "Role", "hssgate-test"))
	want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}}}
	if diff := cmp.Diff(want, role.Rules); diff != "" || role.Namespace != "team-a" {
		t.Errorf("in namespace %s, -want +got:\n%s", role.Namespace, diff)
	}
	for _, object := range rendered {
		if object.GetName() != "hssgate-test" {
			continue
		}
		if got := object.GetAnnotations()["helm.sh/hook"]; got != "test" {
			t.Errorf("%s hssgate-test is there without a test", object.GetKind())
		}
	}
	if rendered.named(t, "RoleBinding", "hssgate-test").GetNamespace() != "team-a" {
		t.Error("the role is bound elsewhere")
	}
}

func TestAnAutoscalerMayOwnTheReplicas(t *testing.T) {
	t.Parallel()
	if got := deployment(t, working("mode=enforce", "replicas=null")...).Spec.Replicas; got != nil {
		t.Errorf("got %d replicas, want none", *got)
	}
}

// TestSecretsOfValuesAppearOnlyInTheirSecret looks for them in everything else.
func TestSecretsOfValuesAppearOnlyInTheirSecret(t *testing.T) {
	t.Parallel()
	rendered := render(t, "--values", "hssgate/ci/credentials-values.yaml")
	for _, object := range rendered {
		if object.GetKind() == "Secret" {
			continue
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "example-secret-key") || strings.Contains(string(text), "example-security-token") {
			t.Errorf("%s %q holds a secret", object.GetKind(), object.GetName())
		}
	}
	secret := decode[corev1.Secret](t, rendered.named(t, "Secret", "hssgate-credentials"))
	if string(secret.Data["secret-key"]) != "example-secret-key" {
		t.Errorf("got %q", secret.Data)
	}
}

// TestEveryValueHasADescription: helm-docs would leave a hole.
func TestEveryValueHasADescription(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(chart + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(readme)) {
		if strings.HasPrefix(line, "| ") && strings.HasSuffix(line, "|  |\n") {
			t.Errorf("no description: %s", line)
		}
	}
}

func TestPodsAreListedOnlyByWhoeverNeedsIt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values []string
		want   bool
	}{
		"by default":                  {nil, true},
		"for the warm-up":             {[]string{"config.audit.enabled=false"}, true},
		"for a short warm-up":         {[]string{"config.audit.enabled=false", "config.cache.warmUpTimeout=500ms"}, true},
		"for the audit":               {[]string{"config.cache.warmUpTimeout=0s"}, true},
		"for neither":                 {[]string{"config.audit.enabled=false", "config.cache.warmUpTimeout=0s"}, false},
		"for neither, in other units": {[]string{"config.audit.enabled=false", "config.cache.warmUpTimeout=0.0ms"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			role := decode[rbacv1.ClusterRole](t, render(t, working(test.values...)...).named(t, "ClusterRole", "hssgate"))
			got := slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
				return slices.Contains(r.Resources, "pods") && slices.Equal(r.Verbs, []string{"list"})
			})
			if got != test.want {
				t.Errorf("the right to list pods: %t, want %t", got, test.want)
			}
		})
	}
}
