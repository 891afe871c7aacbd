package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/report"
)

func TestWhatKubectlPrintsIsUnderstood(t *testing.T) {
	t.Parallel()
	const (
		invalid     = `The Pod "web" is invalid: spec.containers[0].image: Required value`
		unreachable = `Error from server (InternalError): failed calling webhook "images.hssgate.io": connection refused`
	)
	tests := map[string]struct {
		stderr string
		exited bool
		want   answer
	}{
		"nothing is admitted": {"", false, answer{verdict: admitted}},
		"warnings are warned": {
			"Warning: one\nWarning: its pods will be denied: two", false,
			answer{verdict: warned, warnings: []string{"one", "its pods will be denied: two"}},
		},
		"a denial has the webhook's message only": {
			`Error from server (Forbidden): error when creating "STDIN": admission webhook "images.hssgate.io" denied the request: pod "web" denied by 1 policy:` + "\n- one\nto do: two", true,
			answer{verdict: denied, message: "pod \"web\" denied by 1 policy:\n- one\nto do: two"},
		},
		"a denial can have warnings": {
			"Warning: one\n" + `Error from server (Forbidden): admission webhook "images.hssgate.io" denied the request: two`, true,
			answer{verdict: denied, message: "two", warnings: []string{"one"}},
		},
		"any other failure is no denial":      {invalid, true, answer{verdict: failed, message: invalid}},
		"an unreachable webhook is no denial": {unreachable, true, answer{verdict: failed, message: unreachable}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got answer
			got.verdict, got.message, got.warnings = parseKubectl(tt.stderr, tt.exited)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	one := []report.Image{{Name: "app"}}
	two := []report.Image{{Name: "app"}, {Name: "setup"}}
	const denial = "pod \"web\" denied by 1 policy:\n- container \"app\": host/a:1 — severity High, allowed Low [policy p]\nto do: mend it"
	tests := map[string]struct {
		answer   answer
		images   []report.Image
		policies string
		want     string
	}{
		"a denial's findings":              {answer{verdict: denied, message: denial}, one, "p", "severity High, allowed Low"},
		"with the place among several":     {answer{verdict: denied, message: denial}, two, "p", `container "app": severity High, allowed Low`},
		"with the policy among several":    {answer{verdict: denied, message: denial}, one, "p,q", "severity High, allowed Low [policy p]"},
		"a denial without findings":        {answer{verdict: denied, message: "not ready"}, one, "", "not ready"},
		"the place in a message is quoted": {answer{verdict: denied, message: `- image volume "m": h/a:1 — bad [policy p]`}, two, "p", `image volume "m": bad`},
		"a warning about a template": {
			answer{verdict: warned, warnings: []string{`its pods will be denied: container "app": h/a:1 — bad [policy p]`}}, one, "p",
			"its pods will be denied: bad",
		},
		"a notice":                {answer{verdict: warned, warnings: []string{"labels cannot be read"}}, one, "", "labels cannot be read"},
		"an audited violation":    {answer{verdict: admitted, annotations: map[string]string{"violations": `Audit: container "app": h/a:1 — bad [policy p]`}}, one, "p", "Audit: bad"},
		"policies that it passes": {answer{verdict: admitted}, one, "p,q", "passes p, q"},
		"no policy":               {answer{verdict: admitted}, one, "", "no policy judges it"},
		"a failure":               {answer{verdict: failed, message: "is invalid"}, one, "", "is invalid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := result{sample: &sample{newImage: true}, answer: tt.answer, images: tt.images, policies: split(tt.policies, ",")}
			if diff := cmp.Diff([]string{tt.want}, r.why()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
