package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/internal/report"
)

// kubeconfig writes the kubeconfig of an API server.
func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	return write(t, "kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it}}], clusters: [{name: it, cluster: {server: %q}}]}`, url))
}

// TestACheckOfACluster evaluates the pods of a real API server, by its policies
// (there are none) and by a preset.
func TestACheckOfACluster(t *testing.T) {
	env := controlplanetest.Start(t)
	kubeconfig := write(t, "kubeconfig", string(env.KubeConfig))
	pods := env.Clientset(t).CoreV1().Pods("default")
	for name, image := range map[string]string{"clean": "clean", "high": "high", "ended": "high"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}}
		pod.Spec.Containers = []corev1.Container{{Name: "app", Image: sampleHost + "/prod/" + image + ":1.0"}}
		created, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
		must(t, err)
		if name == "ended" {
			created.Status.Phase = corev1.PodSucceeded
			if _, err := pods.UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	exempt := write(t, "config.yaml", readFile(t, "../../config/samples/config.yaml")+"\nexemptNamespaces: [default]\n")
	for name, tt := range map[string]struct {
		args []string
		want int
		// pods are all that are evaluated; of these, so many are denied, and violate
		// a policy, whatever its enforcement.
		pods, denied, violating int
		says                    string
	}{
		"all namespaces":       {[]string{"-A", "--preset", "baseline"}, exitFailure, 2, 1, 1, ""},
		"one namespace":        {[]string{"-n", "default", "--preset", "baseline"}, exitFailure, 2, 1, 1, ""},
		"another namespace":    {[]string{"-n", "kube-public", "--preset", "baseline"}, 0, 0, 0, 0, "there is nothing to evaluate"},
		"one that isn't there": {[]string{"-n", "nosuch", "--preset", "baseline"}, exitUnknown, 0, 0, 0, `there is no namespace "nosuch" in the cluster`},
		"with labels":          {[]string{"-A", "-l", "app=clean", "--preset", "baseline"}, 0, 1, 0, 0, ""},
		"labels of no pod":     {[]string{"-A", "-l", "app=nope", "--preset", "baseline"}, 0, 0, 0, 0, "there is nothing to evaluate"},
		"by its own policies":  {[]string{"-A"}, 0, 2, 0, 0, ""},
		"an image by its own":  {[]string{sampleHost + "/prod/high:1.0"}, 0, 1, 0, 0, ""},
		"a context not there":  {[]string{"-A", "--context", "nowhere"}, exitUnknown, 0, 0, 0, "nowhere"},
		"a policy that audits": {[]string{"-A", "--preset", "audit"}, 0, 2, 0, 1, ""},
		"an exempt namespace":  {[]string{"-A", "--preset", "audit", "--config", exempt}, 0, 2, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(t, append([]string{"check", "--inventory", sampleInventory, "--kubeconfig", kubeconfig, "-o", "json"}, tt.args...)...)
			r, said := report.Report{Audit: &report.Audit{}}, stderr+fmt.Sprint(err)
			if stdout != "" {
				must(t, json.Unmarshal([]byte(stdout), &r))
			}
			code := codeOf(err)
			if code != tt.want || r.Summary.Objects != tt.pods || r.Summary.Denied != tt.denied || r.Audit.Violating != tt.violating || !strings.Contains(said, tt.says) {
				t.Errorf("got exit code %d, %+v and %+v, want %d, %d denied and %d violating of %d: %s", code, r.Summary, r.Audit, tt.want, tt.denied, tt.violating, tt.pods, said)
			}
		})
	}
	useException(t, env, kubeconfig)
}

// useException has an image denied by a policy in force, in namespaces by their
// labels, until allow admits it into one of them.
func useException(t *testing.T, env *controlplanetest.Environment, kubeconfig string) {
	t.Helper()
	high := sampleHost + "/prod/high:1.0"
	denied := func(namespace string) bool {
		stdout, code := checked(t, high, "-n", namespace, "--kubeconfig", kubeconfig)
		return code == exitFailure && !strings.Contains(stdout, "Excepted")
	}
	allow := func(more ...string) {
		_, _, err := run(t, append([]string{"allow", high, "-n", "shop", "--for", "1h", "--reason", "INC-7", "--kubeconfig", kubeconfig}, more...)...)
		must(t, err)
	}
	c, err := client.New(env.Config, client.Options{})
	must(t, err)
	const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {env: %s}}\n"
	for _, text := range []string{
		fmt.Sprintf(namespace, "shop", "prod"), fmt.Sprintf(namespace, "other", "prod"), fmt.Sprintf(namespace, "quiet", "dev"),
		strings.Replace(strictProduction, "digest: Required", "vulnerabilities: {max: 0}", 1),
	} {
		o := &unstructured.Unstructured{}
		must(t, errors.Join(yaml.Unmarshal([]byte(text), &o.Object), c.Create(t.Context(), o)))
	}
	allow("--dry-run", "server")
	if !denied("shop") || !denied("other") || denied("quiet") {
		t.Error("the policy does not deny the image in namespaces that it selects")
	}
	allow()
	if denied("shop") || !denied("other") {
		t.Error("the exception does not admit the image in its namespace only")
	}
	stdout, notes, err := run(t, "allow", high, "-A", "--for", "1h", "--reason", "INC-8", "--kubeconfig", kubeconfig)
	must(t, err)
	name, _ := strings.CutSuffix(strings.TrimPrefix(stdout, "clusterimagescanexception.hssgate.io/"), " created\n")
	if denied("other") || !strings.Contains(notes, "to end it sooner: kubectl delete clusterimagescanexception "+name+"\n") {
		t.Errorf("the exception for all namespaces does not admit the image in another one: %s%s", stdout, notes)
	}
}
