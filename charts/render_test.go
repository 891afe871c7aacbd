package charts_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

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

func webhooks(t testing.TB, args ...string) map[string]admissionregistrationv1.ValidatingWebhook {
	t.Helper()
	configuration := decode[admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t, args...).one(t, "ValidatingWebhookConfiguration"))
	byName := map[string]admissionregistrationv1.ValidatingWebhook{}
	for _, webhook := range configuration.Webhooks {
		byName[webhook.Name] = webhook
	}
	return byName
}

// TestRenderedValues looks for what values come to in what is rendered.
func TestRenderedValues(t *testing.T) {
	t.Parallel()
	failurePolicy := func(webhook string) func(testing.TB, ...string) any {
		return func(t testing.TB, args ...string) any { return string(*webhooks(t, args...)[webhook].FailurePolicy) }
	}
	ofPods, ofWorkloads, ofPolicies := failurePolicy("pods.hssgate.io"), failurePolicy("workloads.hssgate.io"), failurePolicy("policies.hssgate.io")
	container := func(t testing.TB, args ...string) corev1.Container {
		return deployment(t, args...).Spec.Template.Spec.Containers[0]
	}
	image := func(t testing.TB, args ...string) any { return container(t, args...).Image }
	memory := func(t testing.TB, args ...string) any {
		for _, variable := range container(t, args...).Env {
			if variable.Name == "GOMEMLIMIT" {
				return variable.Value
			}
		}
		return ""
	}
	mayListPods := func(t testing.TB, args ...string) any {
		role := decode[rbacv1.ClusterRole](t, render(t, args...).named(t, "ClusterRole", "hssgate"))
		return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Resources, "pods") && slices.Equal(r.Verbs, []string{"list"})
		})
	}
	probes := func(t testing.TB, args ...string) any {
		var names []string
		for _, object := range render(t, args...).ofKind("Pod") {
			for _, container := range decode[corev1.Pod](t, object).Spec.Containers {
				names = append(names, container.Name)
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	const digest = "sha256:4026e8d3a7a60bf7e7b0c06f27aca20077729b41f7ca4c6b7e854c46e91d59f8"
	// Each of these is rendered once.
	var defaults []string
	enforced := []string{"mode=enforce", "image.tag=v1", "resources.limits.memory=512Mi", "clientCertificates.enabled=true", "clientCertificates.configMap=ca"}
	ignoring := []string{"mode=enforce", "webhook.failurePolicy=Ignore", "image.tag=v1", "image.digest=" + digest, "resources.limits.memory=1Gi", "test.enabled=false"}
	failing := []string{"webhook.failurePolicy=Fail", "resources.limits.memory=500M", "rbac.create=false"}
	unaudited := []string{"resources.limits.memory=1000000000", "config.audit.enabled=false"}
	for name, test := range map[string]struct {
		values []string
		got    func(testing.TB, ...string) any
		want   any
	}{
		"audit breaks nothing":                                 {defaults, ofPods, "Ignore"},
		"audit breaks no workloads":                            {defaults, ofWorkloads, "Ignore"},
		"enforce lets nothing past":                            {enforced, ofPods, "Fail"},
		"enforce lets no workloads past":                       {enforced, ofWorkloads, "Fail"},
		"policies stay editable while hssgate is away":         {enforced, ofPolicies, "Ignore"},
		"enforce may ignore failures":                          {ignoring, ofPods, "Ignore"},
		"audit may fail":                                       {failing, ofPods, "Fail"},
		"the image is the release's own":                       {defaults, image, "ghcr.io/hssgate/hssgate:v0.1.0"},
		"an image's tag":                                       {enforced, image, "ghcr.io/hssgate/hssgate:v1"},
		"an image's digest wins over a tag":                    {ignoring, image, "ghcr.io/hssgate/hssgate@" + digest},
		"Go's memory limit is a part of the container's in Mi": {enforced, memory, "348966092"},
		"Go's memory limit in Gi":                              {ignoring, memory, "697932185"},
		"Go's memory limit in M":                               {failing, memory, "325000000"},
		"Go's memory limit in bytes":                           {unaudited, memory, "650000000"},
		"a part of a Gi makes no memory limit for Go":          {[]string{"resources.limits.memory=0.5Gi"}, memory, ""},
		"pods may be listed for the audit":                     {defaults, mayListPods, true},
		"helm test probes a gate in the cluster":               {defaults, probes, "api-server hss webhook"},
		"helm test has no client certificate":                  {enforced, probes, "api-server hss"},
		"helm test has no way to a gate elsewhere":             {[]string{"webhook.url=https://gate.example.com:9443"}, probes, "api-server"},
		"helm test can be switched off":                        {ignoring, probes, ""},
		"helm test goes by roles that the user creates":        {failing, probes, "api-server hss webhook"},
		"pods may be listed for the warm-up alone":             {unaudited, mayListPods, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.got(t, working(test.values...)...); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
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
	if got := deployment(t, working("mode=enforce", "replicas=null")...).Spec.Replicas; got != nil { // for an autoscaler
		t.Errorf("got %d replicas, want none", *got)
	}
	if got := webhooks(t, working("mode=enforce")...)["pods.hssgate.io"].TimeoutSeconds; *got != 5 {
		t.Errorf("got timeout %d s, want 5 s", *got)
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
	if checksum() != checksum("replicas=5") {
		t.Error("the same configuration has another checksum")
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
// hssgate can evaluate.
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

func TestPresetsAreValidPoliciesAndAuditShowsWhatBaselineWouldDeny(t *testing.T) {
	t.Parallel()
	specs := map[string]v1alpha1.ImageScanPolicySpec{}
	for _, preset := range []string{"audit", "baseline", "strict"} {
		args := append(working("policies.preset="+preset, "policies.namespaceSelector.matchLabels.env=prod"), "--api-versions", "hssgate.io/v1alpha1/ImageScanPolicy")
		p := decode[v1alpha1.ImageScanPolicy](t, render(t, args...).one(t, "ImageScanPolicy"))
		specs[preset] = p.Spec
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
	if diff := cmp.Diff(specs["baseline"].Require, specs["audit"].Require); diff != "" {
		t.Errorf("-baseline +audit:\n%s", diff)
	}
}

func TestCustomResourceDefinitions(t *testing.T) {
	t.Parallel()
	manifests, err := charts.CustomResourceDefinitions()
	if err != nil {
		t.Fatal(err)
	}
	for policy, args := range map[string][]string{"keep": working(), "": working("crds.keep=false")} {
		found := render(t, args...).ofKind("CustomResourceDefinition")
		if len(found) != len(manifests) {
			t.Fatalf("got %d CRDs, want %d", len(found), len(manifests))
		}
		for i, want := range parse(t, "---\n"+string(bytes.Join(manifests, []byte("\n---\n")))) {
			if diff := cmp.Diff(want.Object["spec"], found[i].Object["spec"]); diff != "" {
				t.Errorf("%s: -file +rendered:\n%s", want.GetName(), diff)
			}
			if got := found[i].GetAnnotations()["helm.sh/resource-policy"]; got != policy {
				t.Errorf("%s has resource policy %q, want %q", want.GetName(), got, policy)
			}
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
			"networkPolicy.apiServer.ports={6443}", "tracing.endpoint="+endpoint, "networkPolicy.tracesTo[0].podSelector.matchLabels.app=collector")...).one(t, "NetworkPolicy"))
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
			test := decode[corev1.Pod](t, rendered.named(t, "Pod", gate.GetName()+"-test-hss"))
			if diff := cmp.Diff(wayOf(&decode[appsv1.Deployment](t, gate).Spec.Template.Spec), wayOf(&test.Spec), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -gate +test:\n%s", file, diff)
			}
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

// TestSecretsOfValuesAppearOnlyInTheirSecret looks for them in everything else.
func TestSecretsOfValuesAppearOnlyInTheirSecret(t *testing.T) {
	t.Parallel()
	rendered := render(t, "--values", "hssgate/ci/credentials-values.yaml")
	own := rendered.named(t, "Secret", "hssgate-credentials")
	if got := string(decode[corev1.Secret](t, own).Data["secret-key"]); got != "example-secret-key" {
		t.Errorf("got key %q", got)
	}
	for _, object := range rendered {
		if text := fmt.Sprint(object.Object); object != own && (strings.Contains(text, "example-secret-key") || strings.Contains(text, "example-security-token")) {
			t.Errorf("%s %q holds a secret", object.GetKind(), object.GetName())
		}
	}
}
