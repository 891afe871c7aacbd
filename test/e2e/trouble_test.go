package e2e_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// trouble is what HSS can do wrong.
type trouble struct {
	// ruin ruins a server that is otherwise well.
	ruin func(*hsstest.Server)
	// want is what the denial says of it.
	want string
	// own says that hssgate's own configuration is the cause.
	own bool
	// lasts says that a gate doesn't notice the end of it soon.
	lasts bool
}

// troubles are by the names of the projects whose servers they ruin; test/e2e/faults has more of them.
func troubles() map[string]trouble {
	inject := func(f hsstest.Fault) func(*hsstest.Server) {
		return func(s *hsstest.Server) { s.Inject(f.Times(0)) }
	}
	return map[string]trouble{
		"hang":    {ruin: inject(hsstest.HangFault()), want: "HSS did not answer in time ("},
		"drip":    {ruin: inject(hsstest.SlowFault(1, time.Second)), want: "HSS did not answer in time ("},
		"busy":    {ruin: inject(hsstest.StatusFault(http.StatusServiceUnavailable)), want: "HSS answered 503 APIGW.0503: Service Unavailable"},
		"pretend": {ruin: inject(hsstest.ErrorFault(http.StatusOK, "HSS.0010", "access denied")), want: "HSS answered 200 HSS.0010: access denied", own: true},
		"reset":   {ruin: inject(hsstest.ResetFault()), want: "HSS could not be called: "},
		"storm":   {ruin: inject(hsstest.ThrottleFault("")), want: "HSS answered 429 APIGW.0308: "},
		"wait":    {ruin: inject(hsstest.ThrottleFault("3600")), want: "HSS answered 429 APIGW.0308: ", lasts: true},
		"refuse":  {ruin: inject(hsstest.StatusFault(http.StatusUnauthorized)), want: "HSS refused the credentials, so nothing is sent before ", own: true, lasts: true},
		"gone":    {ruin: func(s *hsstest.Server) { s.Close() }, want: "connection refused", lasts: true},
	}
}

// testTrouble creates pods while HSS is slow, down or lying.
func testTrouble(t *testing.T, f *gate) {
	s := f.enforced(t)
	all := tests[*space]{
		"a policy may let such pods in with a warning": testUnavailableWarns,
		"slow answers are waited for": func(t *testing.T, s *space) {
			add(s.hss["slow"], row("app"))
			s.hss["slow"].SetLatency(time.Second)
			s.admitted(t, s.run(t, newPod("slow", "slow.example.com/prod/app:1")))
		},
		"what is known is used, and its age is told": testKnown,
	}
	for name, trouble := range troubles() {
		add(f.hss[name], row("app"))
		trouble.ruin(f.hss[name])
		all[name+": denied in time, with the reason"] = func(t *testing.T, s *space) { testOneTrouble(t, s, name, trouble) }
	}
	s.inParallel(t, all)
}

func testOneTrouble(t *testing.T, s *space, name string, trouble trouble) {
	image := name + ".example.com/prod/app:1"
	before := fmt.Sprintf(`admission webhook "pods.hssgate.io" denied the request: pod %q denied by 1 policy: container "app": %s — `, name, image)
	after, afterOwn := fmt.Sprintf(" [policy %s-p]\nto do: %s", s.name, adviseRetry), fmt.Sprintf(" [policy %s-p]\nto do: %s", s.name, adviseConfiguration)
	const own = "not evaluated because of hssgate's own configuration: "
	// On a busy machine the time may be up before the trouble shows, which the
	// message then says: never is it another answer.
	eventually(t, func() error {
		err := s.run(t, newPod(name, image))
		outage := err != nil && strings.HasPrefix(err.Error(), before+"HSS") && strings.HasSuffix(err.Error(), after)
		ours := err != nil && strings.HasPrefix(err.Error(), before+own+"HSS") && strings.HasSuffix(err.Error(), afterOwn)
		if !apierrors.IsServiceUnavailable(err) || !outage && !ours || ours && !trouble.own {
			t.Fatalf("got error: %v\nwant: %s…%s", err, before, after)
		}
		if !strings.Contains(err.Error(), trouble.want) || ours != trouble.own {
			return fmt.Errorf("got %w, want in it: %s", err, trouble.want)
		}
		return nil
	})
	s.warned(t)
	if trouble.lasts {
		return
	}
	s.hss[name].ClearFaults()
	s.await(t, image, "")
}

func testUnavailableWarns(t *testing.T, s *space) {
	s = s.enforced(t, func(spec *v1alpha1.ImageScanPolicySpec) { spec.When.Unavailable = v1alpha1.ActionWarn })
	const image = "wait.example.com/prod/warned:1"
	must(t, s.run(t, newPod("warned", image)))
	got := strings.Join(s.warnings.take(), "\n")
	if want := `container "app": ` + image + " — HSS "; !strings.HasPrefix(got, want) {
		t.Errorf("got warnings %q, want %q…", got, want)
	}
}

// testKnown has HSS fail after it has told of two images.
func testKnown(t *testing.T, s *space) {
	const clean, bad = "known.example.com/prod/clean:1", "known.example.com/prod/bad:1"
	server := s.hss["known"]
	add(server, row("clean"), row("bad", high))
	s.admitted(t, s.run(t, newPod("clean", clean)))
	s.denied(t, s.run(t, newPod("bad", bad)), `pod "bad"`, []string{highLine(s, bad)}, adviseRebuild)
	server.Inject(hsstest.StatusFault(http.StatusServiceUnavailable).Times(0))
	age := regexp.MustCompile(`^container "app": ` + regexp.QuoteMeta(clean) +
		` was evaluated by a scan result from [1-9]\S*s ago, as HSS is unreachable: HSS `)
	eventually(t, func() error {
		must(t, s.try(t, newPod("known", clean)))
		if got := s.warnings.take(); len(got) != 1 || !age.MatchString(got[0]) {
			return fmt.Errorf("got warnings %q, want %s", got, age)
		}
		return nil
	})
	s.denied(t, s.run(t, newPod("bad", bad)), `pod "bad"`, []string{highLine(s, bad)}, adviseRebuild)
	s.await(t, "known.example.com/prod/new:1", "HSS answered 503") // on a busy machine the time may be up before
}
