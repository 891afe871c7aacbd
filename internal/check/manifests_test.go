package check_test

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/report"
)

// What can't be read, and what no API server accepts, is a problem that names the
// line, and the objects around it are read.
func TestWhatNoAPIServerAcceptsIsAProblem(t *testing.T) {
	t.Parallel()
	const template = "{template: {metadata: {labels: {a: b}}, spec: {container: [{name: a, image: b}]}}}"
	for text, want := range map[string]string{
		// No objects, or several in one document.
		"{]":                   "read the YAML",
		"a: 1":                 "it has no apiVersion or no kind",
		"- 1":                  "it is no Kubernetes object",
		"web":                  "it is no Kubernetes object: it has no apiVersion or no kind",
		"kind: Pod\nkind: Pod": "already defined",
		"{apiVersion: v1, kind: List, items: [{a: 1}]}":                                "items[0]: it is no Kubernetes object",
		`{"apiVersion":"v1","kind":"Pod"}` + "\n" + `{"apiVersion":"v1","kind":"Pod"}`: "something follows the first document",
		"apiVersion: v1\nkind: Pod\n...\napiVersion: v1\nkind: Pod":                    "something follows",
		"apiVersion: v1\nkind: Pod\n--- {apiVersion: v1, kind: Pod}":                   "something follows",
		// Kinds.
		"{apiVersion: v1, kind: List}":                                     "",
		"{apiVersion: v1, kind: Widget}":                                   "",
		"{apiVersion: example.com/v1, kind: Deploymnet}":                   "",
		"{apiVersion: autoscaling/v2beta2, kind: HorizontalPodAutoscaler}": "",
		"{apiVersion: nowhere/v1, kind: Pod}":                              "",
		// Workloads without containers.
		`{"apiVersion":"v1","kind":"Pod",}`:                                                                           `Pod "" has no containers: spec.containers is required`,
		"{apiVersion: v1, kind: Pod, spec: {initContainers: [{name: a, image: b}]}}":                                  "spec.containers is required",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: w}, spec: " + template + "}":                        `Deployment "w" has no containers: spec.template.spec.containers is required`,
		"{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: " + template + "}}}":                        "spec.jobTemplate.spec.template.spec.containers is required",
		"{apiVersion: v1, kind: PodTemplate, template: {spec: {}}}":                                                   " template.spec.containers is required",
		"{apiVersion: apps/v1beta1, kind: Deployment, spec: {template: {spec: {containers: [{name: a, image: b}]}}}}": "",
		// Containers without an image.
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, imgae: b}]}}":                                                      `Pod "a": spec.containers[0].image is required`,
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {initContainers: [{name: i, image: ''}], containers: [{name: a, image: b}]}}":              `Pod "a": spec.initContainers[0].image is required`,
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a, image: b}, {name: b, Image: b}]}}}}": `Deployment "a": spec.template.spec.containers[1].image is required`,
		"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a, imgae: b}]}}}}":            `Rollout "a": spec.template.spec.containers[0].image is required`,
		// Fields of the wrong type.
		"{apiVersion: v1, kind: Pod, spec: {containers: {a: b}}}":                        "read Pod: spec.containers must be a list",
		"{apiVersion: v1, kind: Pod, spec: {containers: [{image: 7}]}}":                  "read Pod: spec.containers[0].image must be a string (in quotes, if it reads as something else)",
		"{apiVersion: v1, kind: Pod, spec: 7}":                                           "read Pod: spec must be a mapping",
		"{apiVersion: v1, kind: Pod, metadata: {labels: {tier: 1}}}":                     "read Pod: metadata.labels.tier must be a string",
		"{apiVersion: v1, kind: Pod, metadata: {labels: [a]}, spec: {containers: [{}]}}": "read Pod: metadata.labels must be a mapping",
	} {
		m := readText(t, pod+"---\n# here\n"+text+"\n---\n"+pod)
		var got report.Problem
		if len(m.Problems) > 0 {
			got = m.Problems[0]
		}
		if len(m.Problems) > 1 || (got.Message == "") != (want == "") || !strings.Contains(got.Message, want) || want != "" && got.Line != 10 {
			t.Errorf("%s: got %v, want %q in line 10", text, m.Problems, want)
		}
		if len(m.Objects) < 2 || want != "" && len(m.Objects) > 2 {
			t.Errorf("%s: got %d objects, want the two around it", text, len(m.Objects))
		}
	}
}

func TestTheParsersErrorsAreAboutTheFile(t *testing.T) {
	t.Parallel()
	const before = "# a comment\napiVersion: v1\nkind: ConfigMap\n---\n"
	for text, want := range map[string]string{
		"a: 1\nb: [\nc: d\n":   "line 7: ",
		"a: 1\na: 2\n":         `line 6: mapping key "a" already defined at line 5`,
		"a:\n\tb: 1\n":         "line 6: found character that cannot start any token: YAML must not be indented by tabs, only by spaces",
		"? [a]\n: b\n":         "read the YAML: invalid map key",
		"a: .inf\n":            "read the YAML: unsupported value: +Inf",
		"a: @b\n":              "found character that cannot start any token",
		"a: {{ .Values.a }}\n": "it looks like a Helm template: render it first (helm template … | hssgate check -f -)",
	} {
		m := readText(t, before+text)
		if len(m.Problems) != 1 || m.Problems[0].Line != 5 || !strings.Contains(m.Problems[0].Message, want) {
			t.Errorf("%q: got %v, want %q", text, m.Problems, want)
			continue
		}
		if got := m.Problems[0].Message; strings.Contains(got, "tabs") != strings.Contains(want, "tabs") || strings.Contains(got, "yaml: ") || strings.Contains(got, "interface") {
			t.Errorf("%q: got %q", text, got)
		}
	}
}
