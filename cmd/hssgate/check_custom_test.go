package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/report"
)

// custom writes a manifest in which BAD and GOOD stand for images.
func custom(t *testing.T, text string) string {
	t.Helper()
	return write(t, "custom.yaml", strings.NewReplacer("BAD", "'"+sampleHost+"/prod/malware:1.0'", "GOOD", "'"+sampleHost+"/prod/clean:1.0'").Replace(text))
}

func TestPodTemplatesOfAnyKindAreEvaluated(t *testing.T) {
	tests := calls{}
	for name, tt := range map[string]struct {
		text string
		code int
	}{
		"a Rollout":                       {"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a, image: BAD}]}}}}", exitFailure},
		"a good Rollout":                  {"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a, image: GOOD}]}}}}", 0},
		"a Knative Service":               {"{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}, spec: {template: {spec: {containers: [{image: BAD}]}}}}", exitFailure},
		"a Workflow's container":          {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, spec: {templates: [{name: t, container: {image: BAD}}]}}", exitFailure},
		"a Workflow's script":             {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, spec: {templates: [{name: t, script: {image: BAD, source: 'x'}}]}}", exitFailure},
		"a Workflow's sidecar":            {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, spec: {templates: [{name: t, container: {image: GOOD}, sidecars: [{name: s, image: BAD}]}]}}", exitFailure},
		"a Task's step":                   {"{apiVersion: tekton.dev/v1, kind: Task, metadata: {name: a}, spec: {steps: [{name: s, image: BAD}]}}", exitFailure},
		"a Task's step template":          {"{apiVersion: tekton.dev/v1, kind: Task, metadata: {name: a}, spec: {stepTemplate: {image: BAD}, steps: [{name: s, script: x}]}}", exitFailure},
		"a second of two templates":       {"{apiVersion: ray.io/v1, kind: RayCluster, metadata: {name: a}, spec: {headGroupSpec: {template: {spec: {containers: [{name: a, image: GOOD}]}}}, workerGroupSpecs: [{template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: BAD}]}}}]}}", exitFailure},
		"an object in an object":          {"{apiVersion: kubernetes.crossplane.io/v1alpha2, kind: Object, metadata: {name: a}, spec: {forProvider: {manifest: {apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: BAD}]}}}}}", exitFailure},
		"a CustomResourceDefinition":      {"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {versions: [{schema: {openAPIV3Schema: {properties: {containers: {type: array, default: [{name: a, image: BAD}]}, image: {type: string}}}}}]}}", 0},
		"a denial beside what is skipped": {"{apiVersion: v1, kind: List, items: [{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}}, {apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: BAD}]}}]}", exitFailure},
		"a ConfigMap":                     {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {pod: \"containers: [{image: BAD}]\"}}", 0},
		"what a status says":              {"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a}, status: {containers: [{name: a, image: BAD}]}, spec: {template: {spec: {containers: [{name: a, image: GOOD}]}}}}", 0},
	} {
		tests[name] = call{[]string{"-f", custom(t, tt.text)}, tt.code, ""}
	}
	tests.check(t, "check", "--inventory", sampleInventory, "--preset", "baseline", "--strict")
}

func TestWhatIsSkippedIsListed(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a Rollout of a Deployment":     {"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a}, spec: {workloadRef: {kind: Deployment, name: a}}}", "Rollout/a (argoproj.io/v1alpha1): no pod template found"},
		"an image in no container":      {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}, spec: {image: 'x/y:1'}}", `Widget/a (example.com/v1): spec.image "x/y:1" is not in a container`},
		"an image by a parameter":       {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, spec: {templates: [{container: {image: '{{inputs.parameters.image}}'}}]}}", `Workflow/a (argoproj.io/v1alpha1): spec.templates[0].container.image "{{inputs.parameters.image}}" is not an image reference`},
		"a misspelt predictor":          {"{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: a}, spec: {predictor: {containers: [{name: a, imgae: BAD}]}}}", "InferenceService/a (serving.kserve.io/v1beta1): spec.predictor.containers[0].image is missing"},
		"a parameter beside a good one": {"{apiVersion: tekton.dev/v1, kind: Task, metadata: {name: a}, spec: {steps: [{image: GOOD}, {image: $(params.image)}]}}", `Task/a (tekton.dev/v1): spec.steps[1].image "$(params.image)" is not an image reference`},
	} {
		t.Run(name, func(t *testing.T) {
			path := custom(t, tt.text)
			for _, o := range report.Outputs() {
				stdout, stderr, err := run(t, "check", "--inventory", sampleInventory, "-f", path, "--preset", "baseline", "-o", o)
				if err != nil || !strings.Contains(stderr, "hssgate: skipped: "+path+":1: "+tt.want) {
					t.Errorf("%s: got %v and %s", o, err, stderr)
				}
				if !strings.Contains(stdout, "kipped") || strings.Contains(stdout, "✅") {
					t.Errorf("%s: it doesn't say what is skipped: %s", o, stdout)
				}
			}
			stdout, got := checked(t, "-f", path, "--preset", "baseline", "--strict", "-o", "json")
			var r report.Report
			must(t, json.Unmarshal([]byte(stdout), &r))
			if got != exitUnknown || len(r.Skipped) != 1 || r.Skipped[0].Message != tt.want {
				t.Errorf("got exit code %d and %v, want %d and %q", got, r.Skipped, exitUnknown, tt.want)
			}
		})
	}
}
