package webhook_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// wants notes what is wanted, and says so.
type wants struct{ images []string }

// Want notes the images.
func (w *wants) Want(_ context.Context, images []image.Reference) []string {
	notes := make([]string, len(images))
	for n, i := range images {
		w.images = append(w.images, i.Path)
		if i.Path != "silent" {
			notes[n] = "a scan was\nasked for"
		}
	}
	return notes
}

// lacking decides that images were not scanned, with an effect.
func lacking(effect v1alpha1.Enforcement, check policy.Check, paths ...string) *decider {
	return &decider{decide: func(_ context.Context, r gate.Request) gate.Decision {
		d := gate.Decision{Kind: "Pod", Name: r.Name, Policies: []string{"p"}, Outcome: gate.Admitted}
		if effect == v1alpha1.EnforcementDeny {
			d.Outcome = gate.Denied
		}
		for _, path := range paths {
			v := violation(image.Use{Image: path}, "never scanned")
			v.Image = image.Reference{Host: "swr.example.com", Path: path, Tag: "1"}
			v.Effect, v.PodEffect, v.Findings[0].Check = effect, effect, check
			d.Violations = append(d.Violations, v)
		}
		return d
	}}
}

func TestScansAreAskedForWhatAPodLacks(t *testing.T) {
	t.Parallel()
	tried := func(body []byte) []byte {
		return []byte(strings.Replace(string(body), `"operation"`, `"dryRun":true,"operation"`, 1))
	}
	for name, tc := range map[string]struct {
		decider *decider
		options []func(*webhook.Options)
		object  any
		edit    func([]byte) []byte
		want    []string
	}{
		"a pod that is denied":         {lacking("Deny", policy.CheckNotScanned, "a", "b", "a"), nil, pod("x"), nil, []string{"a", "b"}},
		"a pod that is warned of":      {lacking("Warn", policy.CheckNotFound, "a"), nil, pod("x"), nil, []string{"a"}},
		"a scan that failed":           {lacking("Deny", policy.CheckScanStatus, "a"), nil, pod("x"), nil, []string{"a"}},
		"a policy that only audits":    {lacking("Audit", policy.CheckNotScanned, "a"), nil, pod("x"), nil, nil},
		"an exception":                 {lacking(gate.EffectExcepted, policy.CheckNotScanned, "a"), nil, pod("x"), nil, nil},
		"another finding":              {lacking("Deny", policy.CheckSeverityLevel, "a"), nil, pod("x"), nil, nil},
		"HSS can't be asked":           {lacking("Deny", policy.CheckUnavailable, "a"), nil, pod("x"), nil, nil},
		"a template":                   {lacking("Warn", policy.CheckNotScanned, "a"), nil, deployment("x"), nil, nil},
		"a request that is only tried": {lacking("Deny", policy.CheckNotScanned, "a"), nil, pod("x"), tried, nil},
		"hssgate runs dry":             {lacking("Deny", policy.CheckNotScanned, "a"), with(dryRun), pod("x"), nil, nil},
		"many images":                  {lacking("Deny", policy.CheckNotScanned, strings.Split(strings.Repeat("a b c d e f g h i j k l m n o p q r s t u v w x y", 1), " ")...), nil, pod("x"), nil, strings.Split("a b c d e f g h i j k l m n o p q r s t", " ")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := &wants{}
			h := newHandler(tc.decider, append(tc.options, func(o *webhook.Options) { o.Scanner = seen })...)
			body := reviewOf(t, "CREATE", tc.object, nil)
			if tc.edit != nil {
				body = tc.edit(body)
			}
			send(t, h, body)
			if !slices.Equal(seen.images, tc.want) {
				t.Errorf("wanted are %v, want %v", seen.images, tc.want)
			}
		})
	}
}

func TestADenialTellsOfTheScan(t *testing.T) {
	t.Parallel()
	scanner := func(o *webhook.Options) { o.Scanner = &wants{} }
	const note = "swr.example.com/a:1: a scan was asked for"
	denied := send(t, newHandler(lacking("Deny", policy.CheckNotScanned, "a", "silent"), scanner), reviewOf(t, "CREATE", pod("x"), nil))
	want := "\nscan: swr.example.com/a:1: a scan was asked for\nto do: have HSS scan the image"
	if got := denied.Result.Message; !strings.Contains(got, want) || strings.Contains(got, "silent:1:") {
		t.Errorf("the message is %q, want %q in it", got, want)
	}
	if got := denied.AuditAnnotations["scans"]; got != note {
		t.Errorf("the annotation is %q, want %q", got, note)
	}
	if len(denied.Warnings) != 0 {
		t.Errorf("a denial has warnings, too: %q", denied.Warnings)
	}
	warned := send(t, newHandler(lacking("Warn", policy.CheckNotScanned, "a"), scanner), reviewOf(t, "CREATE", pod("x"), nil))
	if diff := cmp.Diff("scan: "+note, warned.Warnings[len(warned.Warnings)-1]); diff != "" || !warned.Allowed {
		t.Errorf("warned: %v, allowed %v", warned.Warnings, warned.Allowed)
	}
}
