package hss_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// script is a transport that answers requests by its steps, the last again and again, and notes their times.
type script struct {
	mu       sync.Mutex
	steps    []step
	at       []time.Duration
	requests []*http.Request
	begun    time.Time
}

// step is one answer of a script.
type step struct {
	status int
	header map[string]string
	body   string
	err    error         // in place of an answer
	cut    error         // after the body
	hangs  bool          // after the body, until the request ends
	takes  time.Duration // before the answer, unless the request ends first
}

const ms = time.Millisecond

func list() step { return step{status: 200, body: `{"total_num":0,"data_list":[]}`} }

func newScript(steps ...step) *script { return &script{steps: steps, begun: time.Now()} }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	next := s.take(r)
	select {
	case <-time.After(next.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if next.err != nil {
		return nil, next.err
	}
	response := &http.Response{StatusCode: next.status, Header: http.Header{}, ContentLength: -1, Request: r}
	for name, value := range next.header {
		response.Header.Set(name, value)
	}
	end := io.Reader(strings.NewReader(""))
	if next.cut != nil {
		end = iotest.ErrReader(next.cut)
	}
	if next.hangs {
		end = hangingReader{r.Context()}
	}
	response.Body = io.NopCloser(io.MultiReader(strings.NewReader(next.body), end))
	return response, nil
}

func (s *script) take(r *http.Request) step {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.steps[min(len(s.at), len(s.steps)-1)]
	s.at, s.requests = append(s.at, time.Since(s.begun)), append(s.requests, r)
	return next
}

// sent returns how many requests there were.
func (s *script) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

type hangingReader struct{ ctx context.Context }

func (r hangingReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

// scripted returns a client of a script, whose jitter is always a half.
func scripted(t testing.TB, s *script, change func(*hss.Config)) *hss.Client {
	t.Helper()
	return newClient(t, "https://hss.example.com", func(c *hss.Config) {
		c.Transport, c.Rand = s, func() float64 { return 0.5 }
		if change != nil {
			change(c)
		}
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	status := func(code int) step { return step{status: code} }
	after := func(code int, value string) step {
		return step{status: code, header: map[string]string{"Retry-After": value, "Date": "Fri, 02 Jan 2026 03:04:05 GMT"}}
	}
	atOnce, again := []time.Duration{0}, []time.Duration{0, 100 * ms}
	always := []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}
	type row struct {
		steps []step
		at    []time.Duration // when requests were sent
		want  string          // empty: a list in the end
	}
	eachInFakeTime(t, map[string]row{
		"an answer":                     {[]step{list()}, atOnce, ""},
		"waits double":                  {[]step{status(503)}, always, "after 5 attempts: HSS answered 503"},
		"429 is retried":                {[]step{status(429), list()}, again, ""},
		"429 waits for its Retry-After": {[]step{after(429, "7"), list()}, []time.Duration{0, 7100 * ms}, ""},
		"503 waits until a date by the server's clock": {[]step{after(503, "Fri, 02 Jan 2026 03:04:25 GMT"), list()}, []time.Duration{0, 20100 * ms}, ""},
		"a date that has passed is no wait":            {[]step{after(429, "Fri, 02 Jan 2026 03:04:00 GMT"), list()}, again, ""},
		"a Retry-After that cannot be read is no wait": {[]step{after(429, "soon"), list()}, again, ""},
		"a long Retry-After is not waited for":         {[]step{after(429, "3600")}, atOnce, "HSS answered 429: an empty answer; retry after 1h0m0s"},
		"a Retry-After past all numbers is a year":     {[]step{after(429, "999999999999999")}, atOnce, "retry after 8760h0m0s"},
		"500 is retried once":                          {[]step{status(500)}, again, "after 2 attempts: HSS answered 500"},
		"500 is retried once also with others between": {[]step{status(500), status(503), status(500), list()}, []time.Duration{0, 100 * ms, 300 * ms}, "after 3 attempts: HSS answered 500"},
		"400 is final":                                   {[]step{status(400)}, atOnce, "HSS answered 400"},
		"a broken connection is retried":                 {[]step{{err: io.ErrUnexpectedEOF}, list()}, again, ""},
		"a body that breaks off is retried":              {[]step{{status: 200, body: `{"data_list":[`, cut: io.ErrUnexpectedEOF}, list()}, again, ""},
		"a body that is cut without an error is retried": {[]step{{status: 200, body: `{"data_list":[{"id":1},`}, list()}, again, ""},
		"a body that is always cut":                      {[]step{{status: 200, body: ` {"data_list":[`}}, always, "after 5 attempts: no complete answer: the answer ends in the middle"},
		"the body of an error may be cut":                {[]step{{status: 400, body: `nope`, cut: io.ErrUnexpectedEOF}}, atOnce, "HSS answered 400: nope"},
		"an attempt that hangs leaves time for another":  {[]step{{takes: time.Hour}, list()}, []time.Duration{0, 10*time.Second + 100*ms}, ""},
		"a body that never ends leaves time for another": {[]step{{status: 200, body: `{"data_list":[`, hangs: true}, list()}, []time.Duration{0, 10*time.Second + 100*ms}, ""},
		"an answer that is final ends the retries":       {[]step{status(503), status(400)}, again, "after 2 attempts: HSS answered 400"},
	}, func(t *testing.T, tc row) {
		s := newScript(tc.steps...)
		_, err := scripted(t, s, nil).List(t.Context(), hss.ListRequest{})
		wantError(t, err, tc.want)
		wantEqual(t, "times of the requests", tc.at, s.at)
	})
}

func TestCancellingEndsAWaitAtOnce(t *testing.T) {
	t.Parallel()
	slow := list()
	slow.takes = 5 * time.Second
	type row struct {
		first  step
		others bool // have sent a request before
		want   string
	}
	eachInFakeTime(t, map[string]row{
		"for another attempt":                       {step{status: 503, header: map[string]string{"Retry-After": "30"}}, false, "the review is over while waiting for another attempt: HSS answered 503"},
		"for an earlier request with the same keys": {slow, true, "waiting for an earlier request with these credentials"},
	}, func(t *testing.T, tc row) {
		client := scripted(t, newScript(tc.first, list()), nil)
		if tc.others {
			go func() { _, _ = client.List(context.WithoutCancel(t.Context()), hss.ListRequest{}) }()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		errStop := errors.New("the review is over")
		time.AfterFunc(time.Second, func() { cancel(errStop) })
		begun := time.Now()
		_, err := client.List(ctx, hss.ListRequest{})
		if !errors.Is(err, errStop) || !strings.HasPrefix(err.Error(), tc.want) || time.Since(begun) != time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		time.Sleep(time.Minute) // until the others have their answers
	})
}

func TestADeadlineEndsTheRetries(t *testing.T) {
	t.Parallel()
	type row struct {
		steps []step
		sent  int
		takes time.Duration
		want  string
	}
	eachInFakeTime(t, map[string]row{
		"a Retry-After past the deadline is not waited for": {[]step{throttled("3")}, 1, 0,
			"no time for another attempt in 3.1s: HSS answered 429: an empty answer; retry after 3s"},
		"the error names the attempt before": {[]step{{status: 503}, {takes: time.Hour}}, 2, time.Second,
			"after 2 attempts: no complete answer: hss.example.com: context deadline exceeded; the one before: HSS answered 503: an empty answer"},
	}, func(t *testing.T, tc row) {
		s, begun := newScript(tc.steps...), time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := scripted(t, s, nil).List(ctx, hss.ListRequest{})
		if err == nil || err.Error() != tc.want || s.sent() != tc.sent || time.Since(begun) != tc.takes {
			t.Errorf("error is %v after %d requests in %s, want %s", err, s.sent(), time.Since(begun), tc.want)
		}
	})
}

func throttled(after string) step {
	return step{status: 429, header: map[string]string{"Retry-After": after}}
}

// refusal is the gateway's answer to a bad signature.
func refusal() step {
	return step{status: 401, body: `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information","request_id":"r9"}`}
}

// keys is a source whose credentials a test may change.
type keys struct {
	current     atomic.Pointer[hss.Credentials]
	invalidated atomic.Int32
}

func newKeys(c hss.Credentials) *keys {
	k := &keys{}
	k.current.Store(&c)
	return k
}

func (k *keys) Credentials(context.Context) (hss.Credentials, error) {
	c := *k.current.Load()
	c.Refused = func() { k.invalidated.Add(1) }
	return c, nil
}

// listAll calls List from many goroutines and returns their errors.
func listAll(t *testing.T, client *hss.Client, callers int) []error {
	t.Helper()
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { _, errs[i] = client.List(t.Context(), hss.ListRequest{}) })
	}
	wg.Wait()
	return errs
}

// wantErrors is wantError for each of many calls.
func wantErrors(t *testing.T, errs []error, text string) {
	t.Helper()
	for _, err := range errs {
		wantError(t, err, text)
	}
}

func TestRefusedCredentialsPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(refusal())
		source := newKeys(accessKey())
		client := scripted(t, s, func(c *hss.Config) { c.Credentials = source.Credentials })
		for _, err := range listAll(t, client, 50) {
			var refused *hss.RefusedError
			var got *hss.Error
			if !errors.As(err, &refused) || !errors.As(err, &got) || got.Code != "APIGW.0301" || !got.Unauthenticated() {
				t.Fatalf("error is %v", err)
			}
			want := "HSS refused the credentials, so nothing is sent before 2000-01-01T00:05:00Z unless they change: " +
				"HSS answered 401 APIGW.0301: Incorrect IAM authentication information (request r9)"
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Fatalf("error (-want +got):\n%s", diff)
			}
		}
		wantEqual(t, "requests of 50 callers, and keys invalidated", [2]int{1, 1}, [2]int{s.sent(), int(source.invalidated.Load())})
		time.Sleep(5*time.Minute - time.Second)
		listAll(t, client, 1)
		wantEqual(t, "requests before the pause is over", 1, s.sent())
	})
}

func TestChangedCredentialsEndThePause(t *testing.T) {
	t.Parallel()
	changed := accessKey()
	changed.SecretKey = hss.NewSecret("another")
	temporary := accessKey()
	temporary.SecurityToken = hss.NewSecret("sts")
	eachInFakeTime(t, map[string]hss.Credentials{
		"another secret key": changed, "a security token": temporary, "a token": {Token: hss.NewSecret("T")},
	}, func(t *testing.T, next hss.Credentials) {
		s := newScript(refusal(), list())
		source := newKeys(accessKey())
		client := scripted(t, s, func(c *hss.Config) { c.Credentials = source.Credentials })
		wantErrors(t, listAll(t, client, 1), "APIGW.0301")
		source.current.Store(&next)
		wantErrors(t, listAll(t, client, 1), "")
		old := accessKey()
		source.current.Store(&old)
		wantErrors(t, listAll(t, client, 1), "APIGW.0301")
		wantEqual(t, "requests", 2, s.sent())
	})
}

func TestCredentialsAreSentOneRequestAtATimeUntilTheyWork(t *testing.T) {
	t.Parallel()
	eachInFakeTime(t, map[string]hss.Credentials{"an access key": accessKey(), "a token": {Token: hss.NewSecret("T")}}, func(t *testing.T, credentials hss.Credentials) {
		unwell, works, refused := step{err: &tls.CertificateVerificationError{}}, list(), refusal()
		unwell.takes, works.takes, refused.takes = time.Second, time.Second, time.Second
		s := newScript(unwell, unwell, works, refused)
		client := scripted(t, s, func(c *hss.Config) { c.Credentials = hss.StaticCredentials(credentials) })
		listAll(t, client, 20)
		// Two show nothing of the credentials, the third that they work; then all others are in flight at once.
		want := append([]time.Duration{0, time.Second, 2 * time.Second}, slices.Repeat([]time.Duration{3 * time.Second}, 17)...)
		wantEqual(t, "times of the requests", want, s.at)
		listAll(t, client, 20)
		wantEqual(t, "requests until the credentials were refused", 20, s.sent())
	})
}

func TestARefusalForItsDateNamesTheClockSkew(t *testing.T) {
	t.Parallel()
	type row struct {
		code, date, want string
	}
	eachInFakeTime(t, map[string]row{
		"ahead of us":        {"APIGW.0303", "Sat, 01 Jan 2000 00:17:00 GMT", "the server's clock is 17m0s ahead of this machine's"},
		"behind us":          {"APIG.0303", "Fri, 31 Dec 1999 23:00:00 GMT", "the server's clock is 1h0m0s behind this machine's"},
		"without a date":     {"APIC.0303", "", "APIC.0303: bad date (request"},
		"of another service": {"HSS.0303", "Sat, 01 Jan 2000 00:17:00 GMT", "HSS.0303: bad date (request"},
	}, func(t *testing.T, tc row) {
		s := newScript(step{
			status: 401, body: fmt.Sprintf(`{"error_code":%q,"error_msg":"bad date"}`, tc.code),
			header: map[string]string{"Date": tc.date, "X-Request-Id": "r"},
		})
		wantErrors(t, listAll(t, scripted(t, s, nil), 1), tc.want)
	})
}

func TestACodeOfTheGatewayIsARefusalWhateverTheStatus(t *testing.T) {
	t.Parallel()
	for code, requests := range map[string]int{
		"APIGW.0301": 1, "APIG.0303": 1, "APIC.0301": 1, "HSS.0301": 2, "0301": 2, "APIGW.0305": 2, "XAPIGW.0301": 2, "APIGW.0302": 2,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(step{status: 400, body: fmt.Sprintf(`{"error_code":%q}`, code)})
			client := scripted(t, s, nil)
			listAll(t, client, 1)
			listAll(t, client, 1)
			wantEqual(t, code+": requests", requests, s.sent())
		})
	}
}

// projects returns clients of several projects that share a KeyGuard, each with a script of its own.
func projects(t *testing.T, servers map[string]*script) map[string]*hss.Client {
	t.Helper()
	keys := hss.NewKeyGuard()
	clients := map[string]*hss.Client{}
	for name, s := range servers {
		clients[name] = scripted(t, s, func(c *hss.Config) { c.ProjectID, c.Keys = name, keys })
	}
	return clients
}

// sent returns how many requests all scripts got.
func sent(servers map[string]*script) (n int) {
	for _, s := range servers {
		n += s.sent()
	}
	return n
}

func TestAKeyOfManyProjectsIsNotLocked(t *testing.T) {
	t.Parallel()
	eachInFakeTime(t, map[string]time.Duration{"refused at once": 0, "refused after all have asked": time.Second}, func(t *testing.T, takes time.Duration) {
		servers := map[string]*script{}
		for n := range 7 {
			refused := refusal()
			refused.takes = takes
			servers[fmt.Sprint("p", n)] = newScript(refused)
		}
		clients := projects(t, servers)
		for _, want := range []int{2, 3, 4} { // then one a pause
			var all sync.WaitGroup
			for _, client := range clients {
				all.Go(func() { wantErrors(t, listAll(t, client, 5), "APIGW.0301") })
			}
			all.Wait()
			wantEqual(t, "requests with a key that never worked", want, sent(servers))
			time.Sleep(10*time.Minute + time.Second)
		}
	})
}

func TestAProjectWhereAKeyIsRefusedStopsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]*script{"good": newScript(list()), "bad": newScript(refusal())}
		clients := projects(t, servers)
		for range 6 * 60 {
			wantErrors(t, listAll(t, clients["bad"], 3), "APIGW.0301")
			wantErrors(t, listAll(t, clients["good"], 3), "")
			time.Sleep(time.Minute)
		}
		wantEqual(t, "requests in six hours where the key is refused", 9, servers["bad"].sent())
	})
}

// However often the projects that stay refused are requested first, the others get their turn.
func TestAProjectThatIsAlwaysRefusedStarvesNoOther(t *testing.T) {
	t.Parallel()
	for name, good := range map[string][]step{"never refused": {list()}, "recovers": {refusal(), list()}} {
		synctest.Test(t, func(t *testing.T) {
			clients := projects(t, map[string]*script{"good": newScript(good...), "bad": newScript(refusal()), "worse": newScript(refusal())})
			for range 60 {
				wantErrors(t, listAll(t, clients["bad"], 1), "APIGW.0301")
				wantErrors(t, listAll(t, clients["worse"], 1), "APIGW.0301")
				if listAll(t, clients["good"], 1)[0] == nil {
					return
				}
				time.Sleep(time.Minute)
			}
			t.Errorf("%s: nothing is sent for an hour to the project where the key works", name)
		})
	}
}

func TestAnAnswerToAnEarlierRequestEndsNoPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow, refused := list(), refusal()
		slow.takes, refused.takes = 2*time.Second, time.Second
		s := newScript(list(), slow, refused, list())
		client := scripted(t, s, nil)
		listAll(t, client, 1)
		listAll(t, client, 2) // one is refused, and then the other answered
		wantErrors(t, listAll(t, client, 3), "APIGW.0301")
		wantEqual(t, "requests", 3, s.sent())
	})
}

// cloud answers for IAM and for HSS.
type cloud struct{ iam, hss *script }

func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "iam.cn-north-4.myhuaweicloud.com" {
		return c.iam.RoundTrip(r)
	}
	return c.hss.RoundTrip(r)
}

// iamList is IAM's answer.
func iamList(body string) step { return step{status: 200, body: `{"projects":[` + body + `]}`} }

func oneProject() step { return iamList(`{"id":"p9","name":"cn-north-4"}`) }

// inRegion makes a client that knows a region and no project ID.
func inRegion(t *testing.T, c *cloud, source hss.CredentialSource) *hss.Client {
	t.Helper()
	return scripted(t, nil, func(config *hss.Config) {
		config.Transport, config.ProjectID, config.Region, config.Credentials = c, "", "cn-north-4", source
	})
}

func TestTheProjectIDIsFoundThroughIAMOnce(t *testing.T) {
	t.Parallel()
	eachInFakeTime(t, map[string]hss.Credentials{"a signature": accessKey(), "a token": {Token: hss.NewSecret("T")}}, func(t *testing.T, credentials hss.Credentials) {
		slow := oneProject()
		slow.takes = time.Second
		c := &cloud{iam: newScript(slow), hss: newScript(list())}
		client := inRegion(t, c, hss.StaticCredentials(credentials))
		wantErrors(t, listAll(t, client, 20), "")
		wantEqual(t, "requests to IAM and HSS", [2]int{1, 20}, [2]int{c.iam.sent(), c.hss.sent()})
		first, last := c.iam.requests[0], c.hss.requests[19]
		if first.URL.RequestURI() != "/v3/projects?name=cn-north-4" || len(first.Header["X-Project-Id"]) > 0 {
			t.Errorf("IAM got %s %v", first.URL, first.Header)
		}
		if first.Header.Get("Authorization")+first.Header.Get("X-Auth-Token") == "" {
			t.Error("the request to IAM is not authenticated")
		}
		if last.URL.Path != "/v5/p9/image/registries/images" || last.Header.Get("X-Project-Id") != "p9" {
			t.Errorf("HSS got %s %v", last.URL, last.Header)
		}
	})
}

func TestAKnownProjectIDIsNotLookedUp(t *testing.T) {
	t.Parallel()
	withProject := accessKey()
	withProject.ProjectID = "of-the-keys"
	for want, change := range map[string]func(*hss.Config){
		"of-the-keys":   func(c *hss.Config) { c.ProjectID, c.Credentials = "", hss.StaticCredentials(withProject) },
		"of-the-config": func(c *hss.Config) { c.ProjectID = "of-the-config" },
	} {
		client := scripted(t, newScript(step{err: errors.New("nothing should be sent")}), func(c *hss.Config) {
			c.Region = "cn-north-4"
			change(c)
		})
		if got, err := client.ProjectID(t.Context()); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestTheLookUpOfTheProjectIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{iam: newScript(step{err: io.ErrUnexpectedEOF}, step{status: 503}, oneProject()), hss: newScript(list())}
		if err := listAll(t, inRegion(t, c, hss.StaticCredentials(accessKey())), 1)[0]; err != nil || c.iam.sent() != 3 {
			t.Errorf("error is %v after %d requests", err, c.iam.sent())
		}
		c.iam = newScript(step{err: io.ErrUnexpectedEOF})
		err := listAll(t, inRegion(t, c, hss.StaticCredentials(accessKey())), 1)[0]
		wantError(t, err, "cannot find the project ID of region cn-north-4 through IAM: "+
			"after 5 attempts: no complete answer: iam.cn-north-4.myhuaweicloud.com: unexpected EOF")
		err = inRegion(t, c, hss.StaticCredentials(accessKey())).StartScan(t.Context(), one())
		if _, unconfirmed := errors.AsType[*hss.UnconfirmedError](err); err == nil || unconfirmed {
			t.Errorf("a scan that was not sent: %v", err)
		}
	})
}

func TestAnAccountWithoutOneProjectIsLookedUpOnceASecond(t *testing.T) {
	t.Parallel()
	type row struct {
		answer step
		want   string
	}
	eachInFakeTime(t, map[string]row{
		"no project": {iamList(""), "region cn-north-4 is not enabled for the account of these credentials, " +
			"since IAM has no project of that name: enable the region, or set projectID"},
		"several projects": {iamList(`{"id":"a"},{"id":"b"}`), "the account has 2 projects named cn-north-4 (a, b): set projectID to one of them"},
		"no permission": {step{status: 403, body: `{"error":{"code":403,"message":"not allowed","title":"Forbidden"}}`, header: map[string]string{"X-Iam-Trace-Id": "t1"}},
			"cannot find the project ID of region cn-north-4 through IAM: IAM answered 403 403: not allowed (request t1)"},
		"an answer without projects": {step{status: 200, body: `{}`},
			"cannot find the project ID of region cn-north-4 through IAM: IAM answered 200: the answer has no projects"},
	}, func(t *testing.T, tc row) {
		c := &cloud{iam: newScript(tc.answer), hss: newScript(list())}
		client := inRegion(t, c, hss.StaticCredentials(accessKey()))
		wantErrors(t, append(listAll(t, client, 5), listAll(t, client, 5)...), tc.want)
		wantEqual(t, "requests to IAM and HSS", [2]int{1, 0}, [2]int{c.iam.sent(), c.hss.sent()})
		time.Sleep(time.Second)
		c.iam.mu.Lock()
		c.iam.steps = []step{oneProject()}
		c.iam.mu.Unlock()
		wantErrors(t, listAll(t, client, 1), "")
	})
}

func TestAKeyThatIAMRefusesIsNotSentAgainForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{iam: newScript(refusal(), oneProject()), hss: newScript(list())}
		source := newKeys(accessKey())
		client := inRegion(t, c, source.Credentials)
		for _, err := range append(listAll(t, client, 10), listAll(t, client, 10)...) {
			var refused *hss.RefusedError
			if !errors.As(err, &refused) || refused.AccessKey != accessKey().AccessKey || !strings.HasPrefix(refused.Error(), "IAM refused the credentials") {
				t.Fatalf("error is %v", err)
			}
		}
		wantEqual(t, "requests to IAM and HSS, and keys invalidated", [3]int{1, 0, 1},
			[3]int{c.iam.sent(), c.hss.sent(), int(source.invalidated.Load())})
		time.Sleep(5 * time.Minute)
		wantErrors(t, listAll(t, client, 1), "")
	})
}

func TestAnotherAccountIsLookedUpAnew(t *testing.T) {
	t.Parallel()
	temporary := func(key string) hss.Credentials {
		return hss.Credentials{AccessKey: key, SecretKey: hss.NewSecret("SK"), SecurityToken: hss.NewSecret(key)}
	}
	type row struct {
		first, next hss.Credentials
		lookUps     int
	}
	each(t, map[string]row{
		"another access key":     {accessKey(), hss.Credentials{AccessKey: "OTHER", SecretKey: hss.NewSecret("SK")}, 2},
		"temporary keys renewed": {temporary("A"), temporary("B"), 1},
		"a token renewed":        {hss.Credentials{Token: hss.NewSecret("A")}, hss.Credentials{Token: hss.NewSecret("B")}, 1},
	}, func(t *testing.T, tc row) {
		c := &cloud{iam: newScript(oneProject()), hss: newScript(list())}
		source := newKeys(tc.first)
		client := inRegion(t, c, source.Credentials)
		for _, credentials := range []hss.Credentials{tc.first, tc.next, tc.next} {
			source.current.Store(&credentials)
			if _, err := client.ProjectID(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantEqual(t, "requests to IAM", tc.lookUps, c.iam.sent())
	})
}

func TestIAMEndpoint(t *testing.T) {
	for set, want := range map[string]string{ // sdkoracle compares those of all regions with the SDK's
		"":                    "https://iam.cn-north-4.myhuaweicloud.com",
		"iam.example.com":     "https://iam.example.com",
		"http://127.0.0.1:80": "http://127.0.0.1:80",
	} {
		t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", " "+set+" ")
		if got, err := hss.IAMEndpoint("cn-north-4"); got != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", set, got, err, want)
		}
	}
}
