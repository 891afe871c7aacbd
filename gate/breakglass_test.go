package gate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// rights are the policies that users may get past; a user "broken" can't be
// asked about.
type rights map[string][]string

func (r rights) MayBreakGlass(ctx context.Context, user gate.User, name string) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if user.Name == "broken" {
		return false, errors.New("connection refused")
	}
	return slices.Contains(r[user.Name], name), nil
}

const controllerUser = "system:serviceaccount:kube-system:replicaset-controller"

func breakable(s *v1alpha1.ImageScanPolicySpec) { s.BreakGlass = v1alpha1.PermissionAllow }

// asking has a pod ask for the glass to be broken, by a user.
func asking(user, reason string, r gate.Request) gate.Request {
	r.User.Name, r.Workload.BreakGlass = user, &reason
	return r
}

func TestBreakGlass(t *testing.T) {
	t.Parallel()
	denyTemplates := func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateDeny }
	all := func(p ...*v1alpha1.ImageScanPolicy) []*v1alpha1.ImageScanPolicy { return p }
	bad := pod(swr + "high:1")
	const why = "INC-7: the shop is down"
	tests := map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     gate.Outcome
		refused  string
	}{
		"who may, gets past":                         {all(strict("p", breakable)), asking("alice", why, bad), gate.Admitted, ""},
		"past two policies, too":                     {all(strict("p", breakable), strict("q", breakable)), asking("alice", why, bad), gate.Admitted, ""},
		"past HSS that can't be asked":               {all(strict("p", breakable)), asking("alice", why, pod(swr+"gone:1")), gate.Admitted, ""},
		"past a policy for templates":                {all(strict("p", breakable, denyTemplates)), asking("alice", why, template(swr+"high:1")), gate.Admitted, ""},
		"not without the annotation":                 {all(strict("p", breakable)), bad, gate.Denied, ""},
		"not past a policy that forbids it":          {all(strict("p")), asking("alice", why, bad), gate.Denied, "policy p forbids it"},
		"not if one of two forbids it":               {all(strict("p", breakable), strict("q")), asking("alice", why, bad), gate.Denied, "policy q forbids it"},
		"not without the right":                      {all(strict("p", breakable)), asking("mallory", why, bad), gate.Denied, `user "mallory" may not breakglass imagescanpolicies.hssgate.io p`},
		"not without the right to one of two":        {all(strict("p", breakable), strict("q", breakable)), asking("bob", why, bad), gate.Denied, `user "bob" may not breakglass imagescanpolicies.hssgate.io q`},
		"not as nobody":                              {all(strict("p", breakable)), asking("", why, bad), gate.Denied, `user "" may not breakglass`},
		"not as a controller":                        {all(strict("p", breakable)), asking(controllerUser, why, bad), gate.Denied, "whose right counts: create the pod itself"},
		"not if nobody knows":                        {all(strict("p", breakable)), asking("broken", why, bad), gate.Denied, `the right of user "broken" cannot be asked for: connection refused`},
		"not without a reason":                       {all(strict("p", breakable)), asking("alice", "", bad), gate.Denied, "annotation hssgate.io/break-glass must say why"},
		"not for blanks":                             {all(strict("p", breakable)), asking("alice", " ", bad), gate.Denied, "annotation hssgate.io/break-glass must say why"},
		"not for a novel":                            {all(strict("p", breakable)), asking("alice", strings.Repeat("x", 257), bad), gate.Denied, "annotation hssgate.io/break-glass has 257 characters, at most 256 are allowed"},
		"not for two lines":                          {all(strict("p", breakable)), asking("alice", "a\nb", bad), gate.Denied, "annotation hssgate.io/break-glass must be one line"},
		"for 256 characters":                         {all(strict("p", breakable)), asking("alice", strings.Repeat("ü", 256), bad), gate.Admitted, ""},
		"a policy that only warns needs no right":    {all(strict("p", enforcement("Warn"))), asking("mallory", why, bad), gate.Admitted, ""},
		"a policy that only warns needn't allow it":  {all(strict("p", breakable), strict("q", enforcement("Warn"))), asking("alice", why, bad), gate.Admitted, ""},
		"an image that passes needs no right either": {all(strict("p", breakable)), asking("mallory", "", pod(swr+"clean:1")), gate.Admitted, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			g.Rights = rights{"alice": {"p", "q"}, "bob": {"p"}}
			d := g.Decide(t.Context(), tt.request)
			if d.Outcome != tt.want {
				t.Errorf("Outcome = %q, want %q; notices:\n%s", d.Outcome, tt.want, strings.Join(d.Notices, "\n"))
			}
			if tt.refused == "" {
				return
			}
			if d.BreakGlass == nil || !strings.Contains(d.BreakGlass.Refused, tt.refused) || !strings.HasSuffix(d.Message(), "\n"+d.BreakGlass.Refused) {
				t.Errorf("BreakGlass = %+v, message:\n%s\nwant in it %q", d.BreakGlass, d.Message(), tt.refused)
			}
		})
	}
}

func TestBreakGlassIsRemembered(t *testing.T) {
	t.Parallel()
	g, _ := newGate(t, strict("q", breakable), strict("p", breakable), strict("r", enforcement("Warn")))
	g.Rights = rights{"alice": {"p", "q"}}
	d := g.Decide(t.Context(), asking("alice", "INC-7", pod(swr+"high:1", swr+"high:2")))
	want := &gate.BreakGlass{User: "alice", Reason: "INC-7", Policies: []string{"p", "q"}}
	if diff := cmp.Diff(want, d.BreakGlass); diff != "" {
		t.Errorf("BreakGlass (-want +got):\n%s", diff)
	}
	for _, v := range d.Violations {
		if wants := v.Policy != "r"; (v.Effect == gate.EffectBreakGlass && v.Otherwise == v1alpha1.EnforcementDeny) != wants {
			t.Errorf("policy %s: effect %s, otherwise %q", v.Policy, v.Effect, v.Otherwise)
		}
	}
	if d := g.Decide(t.Context(), asking("alice", "INC-7", pod(swr+"clean:1"))); d.BreakGlass != nil || len(d.Notices) > 0 {
		t.Errorf("with nothing to break it for: %+v, %q", d.BreakGlass, d.Notices)
	}
}

func TestWithoutAnyoneToAskTheGlassStaysWhole(t *testing.T) {
	t.Parallel()
	g, _ := newGate(t, strict("p", breakable))
	d := g.Decide(t.Context(), asking("alice", "INC-7", pod(swr+"high:1")))
	if d.Outcome != gate.Denied || !strings.Contains(d.Message(), "nobody's rights can be asked for") {
		t.Errorf("Outcome = %q, message:\n%s", d.Outcome, d.Message())
	}
}

// hanging is an HSS that takes all the time there is.
type hanging struct{}

func (hanging) Known(image.Reference) (policy.Facts, bool) { return policy.Facts{}, false }

func (hanging) Facts(ctx context.Context, _ image.Reference) policy.Facts {
	<-ctx.Done()
	return policy.Facts{State: policy.StateUnavailable, Reason: "HSS did not answer in time"}
}

// slowRights answer after a while.
type slowRights struct {
	rights
	after time.Duration
}

func (r slowRights) MayBreakGlass(ctx context.Context, user gate.User, name string) (bool, error) {
	select {
	case <-time.After(r.after):
		return r.rights.MayBreakGlass(ctx, user, name)
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func TestTheGlassCanBeBrokenWhileHSSHangs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		budget, after time.Duration
		want          gate.Outcome
	}{
		{4 * time.Second, 900 * time.Millisecond, gate.Admitted},
		{600 * time.Millisecond, 100 * time.Millisecond, gate.Admitted},
		{4 * time.Second, 10 * time.Second, gate.Unavailable},
	} {
		t.Run(fmt.Sprintf("budget %s, rights after %s", test.budget, test.after), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, _ := newGate(t, strict("p", breakable))
				g.Facts, g.Rights = hanging{}, slowRights{rights{"alice": {"p"}}, test.after}
				ctx, cancel := context.WithTimeout(t.Context(), test.budget)
				defer cancel()
				start := time.Now()
				d := g.Decide(ctx, asking("alice", "INC-7", pod(swr+"high:1")))
				if took := time.Since(start); d.Outcome != test.want || took > test.budget {
					t.Errorf("Outcome = %q after %s, want %q within %s: %q", d.Outcome, took, test.want, test.budget, d.Notices)
				}
			})
		})
	}
}

func TestMessagesOfBreakGlass(t *testing.T) {
	t.Parallel()
	denyTemplates := func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateDeny }
	tests := map[string]struct {
		policy  *v1alpha1.ImageScanPolicy
		request gate.Request
	}{
		"break-glass":                 {strict("p", breakable), asking("alice", "INC-7: the shop is down", pod(swr+"high:1.4"))},
		"break-glass-without-right":   {strict("p", breakable), asking("mallory", "let me in", pod(swr+"high:1.4"))},
		"break-glass-by-controller":   {strict("p", breakable), asking(controllerUser, "INC-7", pod(swr+"high:1.4"))},
		"break-glass-template":        {strict("p", breakable), asking("alice", "INC-7", template(swr+"high:1.4"))},
		"break-glass-template-denied": {strict("p", breakable, denyTemplates), asking("alice", "INC-7", template(swr+"high:1.4"))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policy)
			g.Rights = rights{"alice": {"p"}}
			d := g.Decide(t.Context(), tt.request)
			golden(t, name, fmt.Sprintf("message:\n%s\n\nwarnings:\n%s\n\nlines:\n%s\n", d.Message(), strings.Join(d.Warnings(), "\n"), strings.Join(d.Lines(), "\n")))
		})
	}
}
