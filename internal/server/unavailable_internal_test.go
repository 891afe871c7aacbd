package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/inventory"
)

// An image that could not be evaluated is allowed or denied by the policy's
// when.unavailable if HSS is the cause, and denied if hssgate itself is. The answer
// names the cause, and so does the condition HSSReachable of policies.
func TestThePresetDeniesOnlyWhatHssgateItselfFailsToEvaluate(t *testing.T) {
	t.Parallel()
	const configuration, correct = "not evaluated because of hssgate's own configuration: ", "to do: an administrator of hssgate has to correct its configuration"
	const wrong = "Misconfigured"
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	status := func(code int) *hsstest.Fault { return new(hsstest.StatusFault(code)) }
	line := func(name, value string) map[string]string { return map[string]string{name: value} }
	ours := func(say ...string) []string { return append(say, configuration, correct) }
	type testCase struct {
		fault   *hsstest.Fault
		dial    error
		lines   map[string]string
		say     []string // with correct: it is denied
		reason  string
		message string
	}
	each(t, map[string]testCase{
		"HSS answers": {reason: "Answers", message: "HSS answers for project main"},
		"HSS refuses the access key": {fault: status(401), say: ours("HSS refused the credentials", "401"), reason: wrong,
			message: "project main: HSS refuses the access key HSSTESTACCESSKEY"},
		"HSS denies permission":                {fault: status(403), say: ours("HSS answered 403"), reason: wrong, message: "no permission"},
		"there is no such API at the endpoint": {fault: status(404), say: ours("HSS answered 404"), reason: wrong, message: "404"},
		"there are no credentials": {lines: line("credentials", "{source: TokenFile, tokenFile: /nonexistent/token}"),
			say: ours("/nonexistent/token"), reason: wrong, message: "/nonexistent/token"},
		"there is no project ID":      {lines: line("projectID", ""), say: ours("no project"), reason: wrong, message: "no project ID"},
		"dry-run mode denies nothing": {fault: status(401), lines: line("dryRun", "true"), say: []string{configuration, "HSS refused the credentials"}, reason: wrong},
		"HSS is overloaded by 503":    {fault: status(503), say: []string{"HSS answered 503"}, reason: "Unavailable", message: "HSS answered 503"},
		"HSS fails":                   {fault: status(500), say: []string{"HSS answered 500"}, reason: "Unavailable"},
		"HSS throttles":               {fault: new(hsstest.ThrottleFault("3600")), say: []string{"HSS answered 429"}, reason: "Unavailable", message: "429"},
		"a proxy answers with a page": {fault: new(hsstest.HTMLFault(http.StatusOK)), say: []string{"a page of HTML"}, reason: "Unavailable"},
		"the network fails":           {dial: refused, say: []string{"connection refused"}, reason: "Unavailable", message: "connection refused"},
		"HSS hangs":                   {fault: new(hsstest.HangFault()), say: []string{"HSS did not answer in time"}, reason: "Unavailable"},
	}, func(t *testing.T, test testCase) {
		d := newDoor(t, test.lines, app())
		if test.dial != nil {
			d.unreachable.Store(&test.dial)
		}
		if test.fault != nil {
			d.hss.Inject(test.fault.Times(0))
		}
		allowed, text := d.pod(t, "10s")
		if denied := slices.Contains(test.say, correct); allowed == denied {
			t.Errorf("allowed is %v, want %v: %s", allowed, !denied, text)
		}
		for _, want := range test.say {
			if !strings.Contains(text, want) {
				t.Errorf("it does not say %q:\n%s", want, text)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		reach := controller.NewHSS(d.inventory.Check, slog.New(slog.DiscardHandler))
		_ = reach.Start(ctx)
		if c := reach.Condition(); c.Reason != test.reason || !strings.Contains(c.Message, test.message) || strings.Contains(c.Message, "(request ") {
			t.Errorf("HSSReachable has %s: %s; want %s: %s", c.Reason, c.Message, test.reason, test.message)
		}
	})
}

func TestAKnownResultAnswersWhateverIsWrongWithTheConfiguration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, nil, app())
		for range 2 {
			if allowed, text := d.pod(t, "30s"); !allowed {
				t.Errorf("denied: %s", text)
			}
			d.hss.Inject(hsstest.StatusFault(http.StatusUnauthorized).Times(0))
		}
	})
}

func TestTheLastAnswerOfHSSIsNamedWhenTheTimeEnds(t *testing.T) {
	t.Parallel()
	const cut = "the answer ends in the middle"
	cutBody := hsstest.BodyFault(200, "application/json", `{"data_list":[`)
	type testCase struct {
		faults []hsstest.Fault
		say    string
	}
	tests := map[string]testCase{
		"502 again and again":             {[]hsstest.Fault{hsstest.StatusFault(502).Times(0)}, "HSS answered 502 APIGW.0502"},
		"cut again and again":             {[]hsstest.Fault{cutBody.Times(0)}, cut},
		"429 that says how long to wait":  {[]hsstest.Fault{hsstest.ThrottleFault("59").Times(0)}, "HSS answered 429 APIGW.0308"},
		"429 and then nothing":            {[]hsstest.Fault{hsstest.ThrottleFault("0"), hsstest.HangFault().Times(0)}, "HSS answered 429 APIGW.0308"},
		"a page of HTML and then nothing": {[]hsstest.Fault{hsstest.HTMLFault(http.StatusServiceUnavailable), hsstest.HangFault().Times(0)}, "503 Service Unavailable"},
	}
	for review, lookup := range map[string]time.Duration{"4s": 10 * time.Minute, "30s": 2 * time.Second} {
		each(t, tests, func(t *testing.T, tt testCase) {
			limited := func(o *inventory.Options) { o.LookupTimeout = lookup }
			d := newDoor(t, map[string]string{"requestTimeout": min(lookup, 5*time.Minute).String()}, app(), limited)
			d.hss.Inject(tt.faults...)
			if _, text := d.pod(t, review); !strings.Contains(text, tt.say) || strings.Contains(text, "did not answer in time") || strings.Contains(text, "own limits") {
				t.Errorf("in %s, with %s for the look-up, it says %s", review, lookup, text)
			}
		})
	}
}

func TestThePresetDeniesWhatHssgatesOwnLimitsDelay(t *testing.T) {
	t.Parallel()
	lookup := func(d time.Duration) func(*inventory.Options) {
		return func(o *inventory.Options) { o.LookupTimeout = d }
	}
	type testCase struct {
		lines  map[string]string
		change func(*inventory.Options)
		hang   bool
		say    string
	}
	each(t, map[string]testCase{
		"concurrent calls":                           {nil, func(o *inventory.Options) { o.MaxConcurrent = 1 }, true, "at most 1 are made at one time"},
		"the rate, for the review's time":            {map[string]string{"requestsPerSecond": "0.002"}, lookup(10 * time.Minute), false, "requestsPerSecond"},
		"the rate, for the look-up's time":           {map[string]string{"requestsPerSecond": "0.002"}, lookup(time.Second), false, "requestsPerSecond"},
		"a rate that lets the request pass too late": {map[string]string{"requestsPerSecond": "0.2"}, lookup(2 * time.Second), false, "requestsPerSecond"},
	}, func(t *testing.T, tt testCase) {
		d := newDoor(t, tt.lines, app(), tt.change)
		d.pod(t, "60s") // HSS is well; with a rate limit this takes the only request
		if tt.hang {
			d.hss.Inject(hsstest.HangFault().Times(0))
			go d.review(t, "10s", "prod", "Pod", "first")
			synctest.Wait()
		}
		got := d.review(t, "4s", "prod", "Pod", "other")
		text := said(got)
		if got.Allowed || !strings.Contains(text, "not evaluated because of hssgate's own limits: ") || !strings.Contains(text, tt.say) ||
			strings.Contains(text, "did not answer") || strings.Contains(text, "rate:") {
			t.Errorf("allowed is %v: %s", got.Allowed, text)
		}
		time.Sleep(time.Minute)
	})
}

func TestNoReasonShowsAGoType(t *testing.T) {
	t.Parallel()
	goType := regexp.MustCompile(`Go |struct|interface|\*?\b(json|hss|policy|image|webhook|v1|errors|strconv|time|url|fmt)\.[A-Z]|\[\]string|int64|map\[`)
	pod := func(object string) string {
		return `{"uid":"1","operation":"CREATE","namespace":"prod","kind":{"group":"","version":"v1","kind":"Pod"},"object":` + object + `}`
	}
	var bodies []string
	for _, request := range []string{
		pod(`{"spec":{"containers":"x"}}`), pod(`{"spec":{"containers":["x"]}}`), pod(`{"spec":{"containers":[{"image":7}]}}`), pod(`{"spec":{"volumes":{"a":1}}}`),
		pod(`{"metadata":{"labels":{"a":7}},"spec":{"containers":[{"image":"a"}]}}`), pod(`{"metadata":{"labels":[]},"spec":{"containers":[{"image":"a"}]}}`),
		pod(`{"metadata":{"labels":{"` + strings.Repeat("k", 10_000) + `":7}},"spec":{"containers":[{"image":"a"}]}}`), pod(`{"spec":7}`),
		pod(`{"metadata":"x","spec":{"containers":[{"image":"a"}]}}`), pod(`{"metadata":{"ownerReferences":[7]},"spec":{"containers":[{"image":"a"}]}}`),
		pod(`{"metadata":{"deletionTimestamp":{}},"spec":{"containers":[{"image":"a"}]}}`), `{"uid":"1","operation":7}`, `[]`, `{"uid":"1","operation":"CREATE","kind":7}`,
	} {
		bodies = append(bodies, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":`+request+`}`)
	}
	d := newDoor(t, nil, app())
	for _, body := range append(bodies, `[]`, `"x"`, ``, `{"kind":`) {
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", strings.NewReader(body)))
		if text := w.Body.String(); goType.MatchString(text) || len(text) > 3000 {
			t.Errorf("%.100s: %q in %.3000s", body, goType.FindString(text), text)
		}
	}
	for _, body := range []string{
		`{"data_list":7}`, `{"total_num":1,"data_list":[7]}`, `{"total_num":{},"data_list":7}`,
		`{"total_num":1,"data_list":[{` + goodRow() + `,"latest_update_time":{}}]}`, `no JSON`, `{"data_list":[{"id":`,
	} {
		synctest.Test(t, func(t *testing.T) {
			if _, text := answering(t, body).pod(t, "10s"); goType.MatchString(text) || text == "" {
				t.Errorf("%s: %q in %q", body, goType.FindString(text), text)
			}
		})
	}
}
