package check_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestAKindThatNoAPIServerHasIsAProblem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"apiVersion: apps/v1, kind: Deploymnet":                          `there is no kind "Deploymnet" in apiVersion "apps/v1"; did you mean "Deployment"?`,
		"apiVersion: v1, kind: Pods":                                     `there is no kind "Pods" in apiVersion "v1"; did you mean "Pod"?`,
		"apiVersion: v1, kind: service":                                  `did you mean "Service"?`,
		"apiVersion: v1, kind: Deploymnet":                               `did you mean "Deployment", which is of apps/v1, apps/v1beta1 or apps/v1beta2?`,
		"apiVersion: v1, kind: RoleBinding":                              "kind RoleBinding is of rbac.authorization.k8s.io/v1",
		"apiVersion: v1, kind: Widget":                                   `there is no kind "Widget" in apiVersion "v1"`,
		"apiVersion: apps/v2, kind: Deployment":                          `there is no apiVersion "apps/v2": kind Deployment is of apps/v1, apps/v1beta1 or apps/v1beta2`,
		"apiVersion: v2, kind: Pod":                                      `there is no apiVersion "v2": kind Pod is of v1`,
		"apiVersion: v2, kind: Namespace":                                "kind Namespace is of v1",
		"apiVersion: extensions/v1beta1, kind: Deployment":               "kind Deployment is of apps",
		"apiVersion: v1, kind: List":                                     "",
		"apiVersion: example.com/v1, kind: Deploymnet":                   "",
		"apiVersion: skaffold/v2, kind: Config":                          "",
		"apiVersion: extensions/v1beta1, kind: Ingress":                  "",
		"apiVersion: policy/v1beta1, kind: PodSecurityPolicy":            "",
		"apiVersion: autoscaling/v2beta2, kind: HorizontalPodAutoscaler": "",
	} {
		m := readText(t, "{"+text+"}")
		got := ""
		if len(m.Problems) > 0 {
			got = m.Problems[0].Message
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) || len(m.Objects) > 0 {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestAWorkloadThatOnlyItsSpellingOrItsGroupHidesIsAProblem(t *testing.T) {
	t.Parallel()
	const core = "the core group (such as v1)"
	for kind, group := range map[string]string{
		"Pod": core, "PodTemplate": core, "ReplicationController": core, "Job": "batch", "CronJob": "batch",
		"Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "ReplicaSet": "apps",
	} {
		for _, spelt := range []string{kind, strings.ToLower(kind)} {
			m := readText(t, "{apiVersion: nowhere/v1, kind: "+spelt+"}")
			want := fmt.Sprintf("there is no kind %q in apiVersion \"nowhere/v1\": kind %s is of %s", spelt, kind, group)
			if len(m.Problems) != 1 || m.Problems[0].Message != want {
				t.Errorf("got %v, want %q", m.Problems, want)
			}
		}
	}
}

func TestAWorkloadWithoutContainersIsAProblem(t *testing.T) {
	t.Parallel()
	const template = "{template: {metadata: {labels: {a: b}}, spec: {container: [{name: a, image: b}]}}}"
	for text, want := range map[string]string{
		`{"apiVersion":"v1","kind":"Pod",}`:                                                                           `Pod "" has no containers: spec.containers is required`,
		"{apiVersion: v1, kind: Pod, spec: {initContainers: [{name: a, image: b}]}}":                                  "spec.containers is required",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: w}, spec: " + template + "}":                        `Deployment "w" has no containers: spec.template.spec.containers is required`,
		"{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: " + template + "}}}":                        "spec.jobTemplate.spec.template.spec.containers is required",
		"{apiVersion: v1, kind: PodTemplate, template: {spec: {}}}":                                                   " template.spec.containers is required",
		"{apiVersion: apps/v1beta1, kind: Deployment, spec: {template: {spec: {containers: [{name: a, image: b}]}}}}": "",
	} {
		m := readText(t, text)
		got := ""
		if len(m.Problems) > 0 {
			got = m.Problems[0].Message
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) || (len(m.Objects) > 0) != (want == "") {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestAFieldOfTheWrongTypeIsNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"spec: {containers: {a: b}}":                        "read Pod: spec.containers must be a list",
		"spec: {containers: [{image: 7}]}":                  "read Pod: spec.containers[0].image must be a string (in quotes, if it reads as something else), not a number",
		"spec: 7":                                           "read Pod: spec must be a mapping of fields, not a number",
		"metadata: {labels: {tier: 1}}":                     "read Pod: metadata.labels.tier must be a string",
		"metadata: {labels: [a]}, spec: {containers: [{}]}": "read Pod: metadata.labels must be a mapping of fields",
	} {
		m := readText(t, "{apiVersion: v1, kind: Pod, "+text+"}")
		if len(m.Problems) != 1 || !strings.HasPrefix(m.Problems[0].Message, want) {
			t.Errorf("%s: got %v, want %q", text, m.Problems, want)
		}
	}
}
