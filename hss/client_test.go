package hss_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

const listPath = "/v5/p1/image/registries/images"

// newClient makes a client of a server, with the credentials of the signature tests, that never waits long.
func newClient(t testing.TB, endpoint string, change func(*hss.Config)) *hss.Client {
	t.Helper()
	config := hss.Config{
		Endpoint: endpoint, ProjectID: "p1", Credentials: hss.StaticCredentials(accessKey()),
		Rand: func() float64 { return 0 },
	}
	if change != nil {
		change(&config)
	}
	client, err := hss.NewClient(config)
	must(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// serve answers every request in the same way and counts them.
func serve(t *testing.T, handler http.HandlerFunc) (endpoint string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// answer writes a status and a body.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-1")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that an error has a text in it, or is nil if the text is empty.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want %q in it", err, text)
	}
}

// wantEqual compares what a test got with what it wants; nothing is equal to empty.
func wantEqual[T any](t *testing.T, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(options, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// each runs a test for each case, in parallel.
func each[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// eachInFakeTime is each in a bubble of package synctest.
func eachInFakeTime[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	each(t, cases, func(t *testing.T, c C) {
		synctest.Test(t, func(t *testing.T) { test(t, c) })
	})
}

func TestListSendsASignedRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{status: 200, body: `{"total_num":1,"data_list":[{"id":1,"image_name":"app"}]}`})
		client := scripted(t, s, func(c *hss.Config) { c.Endpoint += "/" })
		list, err := client.List(t.Context(), hss.ListRequest{Namespace: "my team", Limit: 200})
		if diff := cmp.Diff(&hss.ListResponse{Total: 1, Images: []hss.Image{{ID: "1", Name: "app"}}}, list); diff != "" || err != nil {
			t.Errorf("error %v, list (-want +got):\n%s", err, diff)
		}
		got := s.requests[0]
		wantEqual(t, "request", "GET "+listPath+"?limit=200&namespace=my%20team", got.Method+" "+got.URL.RequestURI())
		for name, want := range map[string]string{
			"Accept": "application/json", "User-Agent": "hssgate", "X-Project-Id": "p1", "X-Sdk-Date": "20000101T000000Z",
		} {
			wantEqual(t, name, want, got.Header.Get(name))
		}
		if !strings.Contains(got.Header.Get("Authorization"), "SignedHeaders=accept;user-agent;x-project-id;x-sdk-date,") {
			t.Errorf("Authorization is %q", got.Header.Get("Authorization"))
		}
	})
}

func TestProjectIDsThatCannotBeSentAreErrors(t *testing.T) {
	t.Parallel()
	for project, want := range map[string]string{"": "no project ID", "a/../b": "project ID", strings.Repeat("a", 65): "project ID"} {
		credentials := accessKey()
		credentials.ProjectID = project
		_, err := scripted(t, newScript(list()), func(c *hss.Config) {
			c.ProjectID, c.Credentials = "", hss.StaticCredentials(credentials)
		}).List(t.Context(), hss.ListRequest{})
		wantError(t, err, want)
	}
}

func TestAnswersThatAreNoListAreErrors(t *testing.T) {
	t.Parallel()
	type row struct {
		status     int
		body, code string
		text       string
	}
	each(t, map[string]row{
		"an empty 200":                      {200, "", "", "HSS answered 200: an empty answer (request req-1)"},
		"a 200 without a list":              {200, `{"total_num":0}`, "", "HSS answered 200: the answer has no data_list (request req-1)"},
		"a 200 with an object for a list":   {200, `{"data_list":{"latest_scan_time":"-"}}`, "", "data_list is an object"},
		"a 200 with a list by another name": {200, `{"Data_List":[]}`, "", "no data_list"},
		"a 200 with null and no count":      {200, `{"data_list":null}`, "", "the answer has no data_list"},
		"a 200 with two lists":              {200, `{"data_list":[],"data_list":[]}`, "", "data_list is there twice"},
		"a 200 with null":                   {200, `null`, "", "the answer is null, not an object"},
		"a 200 with a bare list":            {200, `[]`, "", "the answer is a list, not an object"},
		"a 200 with an error object":        {200, `{"error_code":"HSS.0011","error_msg":"gone"}`, "HSS.0011", "HSS answered 200 HSS.0011: gone"},
		"a 200 with an error and a list":    {200, `{"error_code":"HSS.0001","data_list":[{"latest_scan_time":"-"}]}`, "HSS.0001", "HSS answered 200 HSS.0001"},
		"a 200 with HTML":                   {200, "<html><head><TITLE>Log in &amp; pay</TITLE></head>", "", `a page of HTML in place of JSON, titled "Log in & pay"`},
		"a 200 with text":                   {200, "OK", "", "HSS answered 200: the answer is not JSON from byte 0 on"},
		"a 200 with wrong JSON":             {200, `{"data_list":[{"latest_scan_time":"-"},}]}`, "", "HSS answered 200: the answer is not JSON from byte 39 on"},
		"a 200 with two documents":          {200, `{"data_list":[]}{}`, "", "HSS answered 200: the answer goes on after its end"},
		"an error of HSS": {400, `{"error_code":"HSS.0001","error_description":"limit","error_msg":"invalid parameter"}`,
			"HSS.0001", "HSS answered 400 HSS.0001: invalid parameter: limit (request req-1)"},
		"an error of HSS without a message": {400, `{"error_code":"HSS.0010","error_description":"access denied"}`,
			"HSS.0010", "HSS answered 400 HSS.0010: access denied"},
		"an error of the gateway": {404, `{"error_msg":"The API does not exist","error_code":"APIGW.0101","request_id":"other"}`,
			"APIGW.0101", "HSS answered 404 APIGW.0101: The API does not exist (request req-1)"},
		"an empty error":                           {403, "", "", "HSS answered 403: an empty answer"},
		"an error of HTML":                         {403, "<!DOCTYPE html><title>403 Forbidden</title>", "", `titled "403 Forbidden"`},
		"an error of text with control characters": {418, "I am\x1b[31m a\r\n\tteapot\x00", "", "HSS answered 418: I am [31m a teapot (request"},
		"an error of another shape":                {400, `{"fault":{"code":"x"}}`, "", `{"fault":{"code":"x"}}`},
		"no content":                               {204, "", "", "HSS answered 204"},
	}, func(t *testing.T, tc row) {
		endpoint, asked := serve(t, answer(tc.status, tc.body))
		list, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{})
		got, ok := errors.AsType[*hss.Error](err)
		if list != nil || !ok {
			t.Fatalf("list %v, error %v; want an *Error", list, err)
		}
		if got.StatusCode != tc.status || got.Code != tc.code || got.RequestID != "req-1" || got.Retryable || asked.Load() != 1 {
			t.Errorf("error is %+v after %d requests", *got, asked.Load())
		}
		wantError(t, err, tc.text)
	})
}

func TestErrorsAreShortAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	const token = "TOKEN-that-is-echoed"
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, "header %s refused %s", r.Header.Get("X-Auth-Token"), strings.Repeat("长", 100_000))
	})
	client := newClient(t, endpoint, func(c *hss.Config) {
		c.Credentials = hss.StaticCredentials(hss.Credentials{Token: hss.NewSecret(token)})
	})
	_, err := client.List(t.Context(), hss.ListRequest{})
	if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "header [redacted] refused 长") {
		t.Errorf("error is %v", err)
	}
	if n := len([]rune(err.Error())); n > 400 {
		t.Errorf("the error has %d characters", n)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(w http.ResponseWriter, page string){
		"with a length": func(w http.ResponseWriter, page string) {
			w.Header().Set("Content-Length", fmt.Sprint(len(page)))
			_, _ = io.WriteString(w, page)
		},
		"in chunks": func(w http.ResponseWriter, page string) {
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, page)
		},
		"compressed": func(w http.ResponseWriter, page string) {
			w.Header().Set("Content-Encoding", "gzip")
			packed := gzip.NewWriter(w)
			_, _ = io.WriteString(packed, page)
			_ = packed.Close()
		},
	} {
		for size, want := range map[int]string{1000: "", 16 << 20: "the answer has more than the 16777216 bytes that are read"} {
			endpoint, asked := serve(t, func(w http.ResponseWriter, _ *http.Request) { handler(w, `{"data_list":[]}`+strings.Repeat(" ", size)) })
			_, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{})
			wantError(t, err, want)
			wantEqual(t, name+": requests", 1, asked.Load())
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	other, followed := serve(t, answer(http.StatusOK, `{"data_list":[]}`))
	for _, location := range []string{other + "/?secret=1", "/elsewhere", ":bad:"} {
		s := newScript(step{status: http.StatusTemporaryRedirect, header: map[string]string{"Location": location}})
		_, err := scripted(t, s, nil).List(t.Context(), hss.ListRequest{})
		wantError(t, err, "not followed")
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the query: %v", err)
		}
	}
	wantEqual(t, "redirects that were followed", 0, followed.Load())
}

func TestNewClientValidatesItsConfiguration(t *testing.T) {
	t.Parallel()
	endpoint := func(endpoint string) func(*hss.Config) { return func(c *hss.Config) { c.Endpoint = endpoint } }
	for name, tc := range map[string]struct {
		change func(*hss.Config)
		want   string // empty: valid
	}{
		"https":                            {func(*hss.Config) {}, ""},
		"http to a loopback address":       {endpoint("http://[::1]:80"), ""},
		"http to localhost":                {endpoint("http://LocalHost:8080/base/"), ""},
		"http to another host":             {endpoint("http://hss.example.com"), "must be https"},
		"http if that is allowed":          {func(c *hss.Config) { c.Endpoint, c.AllowInsecure = "http://hss.example.com", true }, ""},
		"http to a name like localhost":    {endpoint("http://localhost.example.com"), "must be https"},
		"no scheme":                        {endpoint("hss.example.com"), "has no host"},
		"no endpoint":                      {endpoint(""), "has no host"},
		"a password":                       {endpoint("https://u:hunter2@h"), "must not contain a user name"},
		"a password before a bad port":     {endpoint("https://u:hunter2@h:x"), "must not contain a user name"},
		"a query":                          {endpoint("https://h/?a=b"), "must not have a query"},
		"a region in place of an endpoint": {func(c *hss.Config) { c.Endpoint, c.Region = "", "cn-north-4" }, ""},
		"a region that is none":            {func(c *hss.Config) { c.Endpoint, c.Region = "", "north" }, `region "north" is not of the form cn-north-4`},
		"no credentials":                   {func(c *hss.Config) { c.Credentials = nil }, "no source of credentials"},
		"a project with a slash":           {func(c *hss.Config) { c.ProjectID = "a/b" }, "project ID"},
	} {
		config := hss.Config{Endpoint: "https://hss.cn-north-4.myhuaweicloud.com", Credentials: hss.StaticCredentials(accessKey())}
		tc.change(&config)
		_, err := hss.NewClient(config)
		if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: error is %v, want %q in it", name, err, tc.want)
		}
	}
}

func TestRegionEndpoints(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{
		"cn-north-4": "https://hss.cn-north-4.myhuaweicloud.com", "my-kualalumpur-1": "https://hss.my-kualalumpur-1.myhuaweicloud.com",
		"eu-west-101": "https://hss.eu-west-101.myhuaweicloud.eu",
		"":            "", "cn": "", "CN-NORTH-4": "", "cn-north-4.evil.com": "", "cn-north-4/": "", "cn--4": "", strings.Repeat("a-", 40) + "a": "",
	} {
		got, err := hss.RegionEndpoint(region)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", region, got, err, want)
		}
	}
}

// budget counts and may refuse.
type budget struct {
	asked atomic.Int32
	err   error
}

func (b *budget) wait(context.Context) error {
	b.asked.Add(1)
	return b.err
}

func TestEveryAttemptWaitsForTheBudget(t *testing.T) {
	t.Parallel()
	endpoint, asked := serve(t, answer(http.StatusServiceUnavailable, ""))
	spent := &budget{}
	client := newClient(t, endpoint, func(c *hss.Config) { c.Budget = spent.wait })
	if _, err := client.List(t.Context(), hss.ListRequest{}); err == nil || !strings.HasPrefix(err.Error(), "after 5 attempts: HSS answered 503") {
		t.Errorf("error is %v", err)
	}
	wantEqual(t, "waits for the budget, and requests", [2]int32{5, 5}, [2]int32{spent.asked.Load(), asked.Load()})
	spent.err = errors.New("nothing left")
	if _, err := client.List(t.Context(), hss.ListRequest{}); !errors.Is(err, spent.err) {
		t.Errorf("error is %v, want that of the budget", err)
	}
	wantEqual(t, "requests with and without a budget", 5, asked.Load())
}

func TestAnUntrustedCertificateIsNotRetried(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(answer(http.StatusOK, `{"data_list":[]}`))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	spent := &budget{}
	_, err := newClient(t, server.URL, func(c *hss.Config) { c.Budget = spent.wait }).List(t.Context(), hss.ListRequest{})
	if err == nil || !strings.Contains(err.Error(), "certificate") || spent.asked.Load() != 1 {
		t.Errorf("error is %v after %d attempts, want one about the certificate after 1", err, spent.asked.Load())
	}
	trusting := newClient(t, server.URL, func(c *hss.Config) { c.Transport = server.Client().Transport })
	if _, err := trusting.List(t.Context(), hss.ListRequest{}); err != nil {
		t.Error(err)
	}
}

func TestRequestsAreValidated(t *testing.T) {
	t.Parallel()
	chars := func(n int) string { return strings.Repeat("镜", n) }
	of := func(change func(*hss.VulnerabilityRequest)) hss.VulnerabilityRequest {
		r := vulnerable()
		change(&r)
		return r
	}
	for name, tc := range map[string]struct {
		request interface{ Query() (url.Values, error) }
		want    string // empty: valid
	}{
		"an empty list request":                   {hss.ListRequest{}, ""},
		"lengths are in characters, not in bytes": {hss.ListRequest{EnterpriseProjectID: chars(256), Namespace: chars(128), ImageName: chars(128), ImageVersion: chars(64), RegistryName: chars(128)}, ""},
		"a long enterprise project":               {hss.ListRequest{EnterpriseProjectID: chars(257)}, "list request: enterprise_project_id has 257 characters, at most 256 are allowed"},
		"a long namespace":                        {hss.ListRequest{Namespace: chars(129)}, "list request: namespace has 129"},
		"a long image version":                    {hss.ListRequest{ImageVersion: chars(65)}, "list request: image_version has 65 characters, at most 64"},
		"invalid UTF-8":                           {hss.ListRequest{ImageName: "\xff"}, "list request: image_name is no valid UTF-8"},
		"several problems are listed at once": {hss.ListRequest{ImageVersion: chars(65), Namespace: chars(200)},
			"list request: namespace has 200 characters, at most 128 are allowed; image_version has 65"},

		"vulnerabilities of an image": {vulnerable(), ""},
		"a digest as image ID":        {of(func(r *hss.VulnerabilityRequest) { r.ImageID = "sha256:aa" }), ""},
		"no image ID": {of(func(r *hss.VulnerabilityRequest) { r.ImageID = "" }),
			`vulnerability request: image_id is "", allowed are 1 to 128 letters, digits and -_.:~`},
		"an image ID that leaves the path": {of(func(r *hss.VulnerabilityRequest) { r.ImageID = "../x" }), `vulnerability request: image_id is "../x"`},
		"an image ID that is a folder":     {of(func(r *hss.VulnerabilityRequest) { r.ImageID = ".." }), `vulnerability request: image_id is ".."`},
		"a long namespace of an image":     {of(func(r *hss.VulnerabilityRequest) { r.Namespace = chars(65) }), "vulnerability request: namespace has 65 characters, at most 64"},
	} {
		_, err := tc.request.Query()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, tc.want)
		}
		if _, invalid := errors.AsType[*hss.InvalidRequestError](err); err != nil && !invalid {
			t.Errorf("%s: error is a %T", name, err)
		}
	}
}

func TestInvalidRequestsAreNotSent(t *testing.T) {
	t.Parallel()
	server := faithful(t)
	client := newClient(t, server.URL, nil)
	tooLong := hss.ListRequest{ImageVersion: strings.Repeat("1", 65)}
	_, listErr := client.List(t.Context(), tooLong)
	_, allErr := every(client.All(t.Context(), tooLong))
	_, vulnerabilityErr := every(client.Vulnerabilities(t.Context(), hss.VulnerabilityRequest{}))
	scan := func(r hss.ScanRequest) error { return client.StartScan(t.Context(), r) }
	sync := func(registries ...hss.SyncRegistry) error {
		return client.SyncRegistries(t.Context(), hss.SyncRequest{Registries: registries})
	}
	for _, err := range []error{
		listErr, allErr, vulnerabilityErr,
		scan(hss.ScanRequest{Image: hss.Image{Name: "a"}}), scan(hss.ScanRequest{EnterpriseProjectID: strings.Repeat("e", 257), Image: hss.Image{ID: "1"}}),
		sync(), sync(make([]hss.SyncRegistry, 101)...),
	} {
		if _, invalid := errors.AsType[*hss.InvalidRequestError](err); !invalid {
			t.Errorf("error is %v", err)
		}
	}
	wantEqual(t, "requests", 0, server.Stats().Requests)
}

// signedAt is the date of signatures.
func signedAt() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func accessKey() hss.Credentials {
	return hss.Credentials{AccessKey: "AKEXAMPLE", SecretKey: hss.NewSecret("SKEXAMPLE")}
}

func newRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	must(t, err)
	return r
}

func TestSignSendsTheCredentialsInPlaceOfEarlierOnes(t *testing.T) {
	t.Parallel()
	type row struct {
		credentials hss.Credentials
		want        map[string]string
		signed      string
	}
	each(t, map[string]row{
		"a temporary key": {
			hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret("SK"), SecurityToken: hss.NewSecret("STS"), ProjectID: "p1"},
			map[string]string{"X-Security-Token": "STS", "X-Project-Id": "p1", "X-Auth-Token": ""},
			"SignedHeaders=x-project-id;x-sdk-date;x-security-token,",
		},
		"a token beside a key": {
			hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret("SK"), Token: hss.NewSecret("TOKEN"), ProjectID: "p1"},
			map[string]string{"X-Auth-Token": "TOKEN", "Authorization": "", "X-Sdk-Date": "", "X-Project-Id": "p1"}, "",
		},
		"a key": {accessKey(), map[string]string{"X-Auth-Token": "", "X-Security-Token": ""}, "SignedHeaders=x-sdk-date,"},
	}, func(t *testing.T, tc row) {
		r := newRequest(t, "https://hss.example.com/v5")
		for _, name := range []string{"X-Auth-Token", "X-Security-Token", "Authorization"} {
			r.Header.Set(name, "old")
		}
		must(t, hss.Sign(r, nil, tc.credentials, signedAt()))
		for name, want := range tc.want {
			wantEqual(t, name, want, r.Header.Get(name))
		}
		if got := r.Header.Get("Authorization"); !strings.Contains(got, tc.signed) {
			t.Errorf("Authorization is %q, want %q in it", got, tc.signed)
		}
	})
}

func TestSignRefusesInvalidCredentialsAndQueries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		credentials  hss.Credentials
		target, want string
	}{
		{hss.Credentials{SecretKey: hss.NewSecret("SK")}, "https://h/", "an access key and a secret key, or a token"},
		{hss.Credentials{AccessKey: "AK"}, "https://h/", "an access key and a secret key, or a token"},
		{hss.Credentials{AccessKey: "A\nK", SecretKey: hss.NewSecret("SK")}, "https://h/", "access key contains a control character"},
		{hss.Credentials{AccessKey: "A,K", SecretKey: hss.NewSecret("SK")}, "https://h/", "contains a space or a comma"},
		{hss.Credentials{Token: hss.NewSecret("TO\r\nKEN")}, "https://h/", "token contains a control character"},
		{accessKey(), "https://h/?a=%zz", "query cannot be signed"},
	} {
		err := hss.Sign(newRequest(t, tc.target), nil, tc.credentials, signedAt())
		wantError(t, err, tc.want)
		if err != nil && strings.Contains(err.Error(), "KEN") {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}

// All pages of an organisation, one row after the other.
func ExampleClient_All() {
	server := hsstest.NewServer(hsstest.WithTokens("a token of IAM"), hsstest.WithImages(
		hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1.4", ScanStatus: "success", SeverityLevel: "High"},
		hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1.5", ScanStatus: "scanning"}))
	defer server.Close()
	client, err := hss.NewClient(hss.Config{
		Endpoint:    server.URL, // hss.RegionEndpoint("cn-north-4") in earnest
		ProjectID:   "0123456789abcdef",
		Credentials: hss.StaticCredentials(hss.Credentials{Token: hss.NewSecret("a token of IAM")}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for image, err := range client.All(context.Background(), hss.ListRequest{Namespace: "prod"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(image.Name, image.Version, image.ScanStatus, image.Severity)
	}
	// Output:
	// app 1.4 success High
	// app 1.5 scanning
}
