package hsstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// get sends a GET over a real connection.
func get(ctx context.Context, t *testing.T, s *hsstest.Server, query string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+listPath+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Client().Do(r)
}

// serve starts an open server, and closes it with the test.
func serve(t *testing.T, list ...hsstest.Option) *hsstest.Server {
	t.Helper()
	s := hsstest.NewServer(append(list, hsstest.WithoutAuthentication())...)
	t.Cleanup(s.Close)
	return s
}

func TestFaultsThatAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault       hsstest.Fault
		status      int
		contentType string
		body        string
		retryAfter  string
	}{
		"a status":              {hsstest.StatusFault(503), 503, "application/json", `"error_code":"APIGW.0503"`, ""},
		"throttled for seconds": {hsstest.ThrottleFault("3"), 429, "application/json", "APIGW.0308", "3"},
		"throttled until a date": {hsstest.ThrottleFault("Wed, 21 Oct 2026 07:28:00 GMT"), 429, "application/json", "APIGW.0308",
			"Wed, 21 Oct 2026 07:28:00 GMT"},
		"throttled without a word": {hsstest.ThrottleFault(""), 429, "application/json", "APIGW.0308", ""},
		"a page":                   {hsstest.HTMLFault(502), 502, "text/html", "<h1>502 Bad Gateway</h1>", ""},
		"an error with status 200": {hsstest.ErrorFault(200, "HSS.0011", "gone"), 200, "application/json", `"error_code":"HSS.0011"`, ""},
		"a count alone":            {hsstest.NoDataListFault(), 200, "application/json", `{"total_num":0}`, ""},
		"garbage":                  {hsstest.GarbageFault(), 200, "application/json", `{"total_num":1,"data_list":[{"id":]}`, ""},
		"nothing":                  {hsstest.EmptyFault(), 200, "application/json", "", ""},
		"a body of one's own":      {hsstest.BodyFault(201, "text/plain", "hello"), 201, "text/plain", "hello", ""},
	}
	for name, tc := range tests {
		h := open(t, hsstest.WithFaults(tc.fault))
		got := ask(t, h, "")
		if got.Status != tc.status || !strings.HasPrefix(got.Header.Get("Content-Type"), tc.contentType) || !strings.Contains(got.Raw, tc.body) ||
			got.Header.Get("Retry-After") != tc.retryAfter || got.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got %d %v %s", name, got.Status, got.Header, got.Raw)
		}
		if again := ask(t, h, ""); again.Status != 200 || !strings.Contains(again.Raw, "data_list") {
			t.Errorf("%s, the next request: got %d %s", name, again.Status, again.Raw)
		}
	}
}

func TestFaultsAreTakenInOrderByMatchingRequests(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(vulnerableApp()), hsstest.WithInventory(parse(t, `faults: [{kind: status, endpoint: vulnerabilities, image_name: app}]`)),
		hsstest.WithFaults(hsstest.StatusFault(504).ForEndpoint(hsstest.EndpointRegistries).Times(0)))
	h.Inject(
		hsstest.StatusFault(502).ForImage("prod", "flaky").Times(2),
		hsstest.StatusFault(500).ForEndpoint(hsstest.EndpointImages),
		hsstest.StatusFault(503).ForImage("prod", "").ForEndpoint(hsstest.EndpointImages),
	)
	const list = "image/registries/images?"
	for n, step := range []struct {
		path   string
		status int
	}{
		{list + "namespace=prod&image_name=app", 500},
		{list + "namespace=prod&image_name=flaky", 502},
		{list + "namespace=test&image_name=flaky", 200},
		{list + "namespace=prod&image_name=flaky", 502},
		{list + "namespace=prod&image_name=flaky", 503},
		{list + "namespace=prod&image_name=flaky", 200},
		{strings.Replace(ofApp, "image_name=app", "image_name=web", 1), 400},
		{ofApp, 503},
		{ofApp, 200},
		{"image/registries", 504},
		{"image/registries", 504},
		{"image/nothing", 404},
	} {
		if got := askFor(t, h, http.MethodGet, step.path, ""); got.Status != step.status {
			t.Errorf("request %d, %s: got %d, want %d", n+1, step.path, got.Status, step.status)
		}
	}
	want := map[hsstest.Endpoint]hsstest.EndpointStats{
		hsstest.EndpointImages:          {Requests: 6, Faults: 4},
		hsstest.EndpointVulnerabilities: {Requests: 3, Rows: 4, Failures: 1, Faults: 1},
		hsstest.EndpointRegistries:      {Requests: 2, Faults: 2},
		"":                              {Requests: 1, Failures: 1},
	}
	if diff := cmp.Diff(want, h.Stats().Endpoints); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	h.ClearFaults()
	if got := askFor(t, h, http.MethodGet, "image/registries", ""); got.Status != 200 {
		t.Errorf("after clearing: got %d", got.Status)
	}
}

func TestFaultsOfBodies(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	type got struct {
		body   []byte
		length int64
		err    error
		took   time.Duration
	}
	for name, tc := range map[string]struct {
		fault hsstest.Fault
		right func(got) bool
	}{
		"a cut body ends before its length": {hsstest.CutFault(), func(g got) bool {
			return errors.Is(g.err, io.ErrUnexpectedEOF) && int64(len(g.body)) < g.length && len(g.body) > 0
		}},
		"a slow body is complete and slow": {hsstest.SlowFault(20, time.Millisecond), func(g got) bool {
			return g.err == nil && strings.Contains(string(g.body), `"image_version":"1.0"`) && g.took >= time.Duration(len(g.body)/20)*time.Millisecond
		}},
		"a huge body is valid and huge": {hsstest.HugeFault(size), func(g got) bool {
			return g.err == nil && len(g.body) >= size && json.Valid(g.body)
		}},
	} {
		s := serve(t, hsstest.WithImages(versions("1.0")...), hsstest.WithFaults(tc.fault))
		began := time.Now()
		response, err := get(t.Context(), t, s, "")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if g := (got{body, response.ContentLength, err, time.Since(began)}); !tc.right(g) {
			t.Errorf("%s: got %d of %d bytes in %v, %v", name, len(body), g.length, g.took, err)
		}
	}
}

func TestAResetConnectionIsReset(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(...hsstest.Option) *hsstest.Server{
		"without TLS": hsstest.NewServer, "with TLS": hsstest.NewTLSServer,
	} {
		s := start(hsstest.WithoutAuthentication(), hsstest.WithFaults(hsstest.ResetFault()))
		response, err := get(t.Context(), t, s, "")
		if err == nil {
			_ = response.Body.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v, want a reset", name, err)
		}
		s.Close()
	}
}

func TestAHangEndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	s := serve(t, hsstest.WithFaults(hsstest.HangFault()))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		response, err := get(ctx, t, s, "")
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	waitFor(t, func() bool { return s.Stats().Faults == 1 })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waitFor(t, func() bool { return s.Stats().InFlight == 0 })
}

// waitFor polls for what another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain")
		case <-ticker.C:
		}
	}
}

func parse(t *testing.T, text string) *inventoryfile.File {
	t.Helper()
	inventory, err := inventoryfile.Parse([]byte(text), newClock().now())
	if err != nil {
		t.Fatal(err)
	}
	return inventory
}

func TestAnInventoryConfiguresTheServer(t *testing.T) {
	t.Parallel()
	inventory := parse(t, `# a comment
---
images: [{namespace: prod, image_name: app, image_version: "1.0"}]
projects: [p1]
tokens: [t1]
credentials: [{access_key: AK, secret_key: SK, projects: [p1]}]
faults:
- {kind: status, times: 2, namespace: prod, image_name: flaky}
- {kind: throttle, retry_after: "7"}
`)
	at := newClock()
	h := hsstest.NewHandler(hsstest.WithInventory(inventory), hsstest.WithClock(at.now))
	key := signed(hsstest.Credential{AccessKey: "AK", SecretKey: "SK"}, at.now())
	token := func(r *http.Request) { r.Header.Set("X-Auth-Token", "t1") }
	if got := ask(t, h, "", key); got.Status != 429 || got.Header.Get("Retry-After") != "7" {
		t.Errorf("got %d %v", got.Status, got.Header)
	}
	for _, want := range []int{503, 503, 200} {
		if got := ask(t, h, "namespace=prod&image_name=flaky", token); got.Status != want {
			t.Errorf("got %d, want %d", got.Status, want)
		}
	}
	if got := ask(t, h, "", key); got.tags() != "1.0" {
		t.Errorf("got %s", got.Raw)
	}
	other := ask(t, h, "", token, func(r *http.Request) { r.URL.Path = strings.Replace(listPath, "p1", "p2", 1) })
	if other.ErrorCode != "HSS.0010" {
		t.Errorf("got %s", other.Raw)
	}
}

func TestEveryKindOfFaultCanBeInAFile(t *testing.T) {
	t.Parallel()
	for _, kind := range inventoryfile.FaultKinds() {
		s := serve(t, hsstest.WithInventory(parse(t, "faults: [{kind: "+kind+", bytes: 10, pause: 1ms, status: 500}]")))
		ctx, cancel := context.WithCancel(t.Context())
		var client sync.WaitGroup
		client.Go(func() {
			if response, err := get(ctx, t, s, ""); err == nil {
				_ = response.Body.Close()
			}
		})
		waitFor(t, func() bool { return s.Stats().Faults == 1 })
		cancel() // what hangs
		client.Wait()
	}
}

func TestIAMListsTheProjectsOfARegion(t *testing.T) {
	t.Parallel()
	const inventory = "iam_projects:\n- {id: a, name: cn-north-4}\n- {id: b, name: cn-north-4}\n- {id: c, name: eu-west-101}\n"
	file, err := inventoryfile.Parse([]byte(inventory), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		options []hsstest.Option
		region  string
		want    []string
	}{
		"any region by default":              {nil, "cn-north-4", []string{hsstest.DefaultProjectID}},
		"any region with the known projects": {[]hsstest.Option{hsstest.WithProjects("p1")}, "cn-north-4", []string{"p1"}},
		"one project":                        {[]hsstest.Option{hsstest.WithInventory(file)}, "eu-west-101", []string{"c"}},
		"several projects":                   {[]hsstest.Option{hsstest.WithInventory(file)}, "cn-north-4", []string{"a", "b"}},
		"no project":                         {[]hsstest.Option{hsstest.WithInventory(file)}, "cn-east-3", nil},
	} {
		got := ask(t, open(t, tc.options...), "name="+tc.region, func(r *http.Request) { r.URL.Path = "/v3/projects" })
		var list struct{ Projects []hsstest.IAMProject }
		if err := json.Unmarshal([]byte(got.Raw), &list); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, project := range list.Projects {
			ids = append(ids, project.ID)
		}
		if diff := cmp.Diff(tc.want, ids); diff != "" || got.Header.Get("X-Iam-Trace-Id") == "" {
			t.Errorf("%s: header %v, projects (-want +got):\n%s", name, got.Header, diff)
		}
	}
}
