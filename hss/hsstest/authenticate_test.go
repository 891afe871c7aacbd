package hsstest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	key := hsstest.Credential{AccessKey: "AK", SecretKey: "SK"}
	temporary := hsstest.Credential{AccessKey: "TEMP", SecretKey: "SK2", SecurityToken: "token"}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	tests := map[string]struct {
		query  string
		edits  []func(*http.Request)
		status int
		code   string
		msg    string
	}{
		"a signed request is let in": {
			edits: []func(*http.Request){signed(key, now)}, status: 200},
		"a query with odd characters is let in": {
			query: "namespace=a%20b%2F%E4%B8%AD%3D%26&image_name=~._-", edits: []func(*http.Request){signed(key, now)}, status: 200},
		"an empty value without its equals sign is let in": {
			query: "instance_id&instance_name=", edits: []func(*http.Request){signed(key, now)}, status: 200},
		"further signed headers are let in": {
			edits: []func(*http.Request){header("X-Project-Id", "p1"), header("User-Agent", "  me "), signed(key, now)}, status: 200},
		"the host may be signed": {
			edits: []func(*http.Request){signed(key, now), func(r *http.Request) {
				signedWith(r, key, []string{"host", "x-sdk-date"})
			}}, status: 200},
		"the declared hash of the body is believed if true": {
			edits: []func(*http.Request){
				header("X-Sdk-Content-Sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), signed(key, now)}, status: 200},
		"a date 15 minutes old is let in": {
			edits: []func(*http.Request){signed(key, now.Add(-15*time.Minute))}, status: 200},
		"a temporary key with its token is let in": {
			edits: []func(*http.Request){signed(temporary, now)}, status: 200},
		"a known token is let in": {
			edits: []func(*http.Request){header("X-Auth-Token", "known")}, status: 200},
		"nothing at all is refused": {
			status: 401, code: "APIGW.0301", msg: "x-auth-token not found"},
		"an unknown token is refused": {
			edits: []func(*http.Request){header("X-Auth-Token", "other")}, status: 401, code: "APIGW.0301", msg: "decrypt token fail"},
		"a token that is too long is refused": {
			edits: []func(*http.Request){header("X-Auth-Token", strings.Repeat("t", 32769))}, status: 401, code: "APIGW.0301", msg: "1 to 32768"},
		"another scheme is refused": {
			edits: []func(*http.Request){header("Authorization", "Bearer x")}, status: 401, code: "APIGW.0301", msg: "must begin with"},
		"an unknown access key is refused": {
			edits:  []func(*http.Request){signed(hsstest.Credential{AccessKey: "NO", SecretKey: "SK"}, now)},
			status: 401, code: "APIGW.0301", msg: "access key not found"},
		"a wrong secret key is refused": {
			edits:  []func(*http.Request){signed(hsstest.Credential{AccessKey: "AK", SecretKey: "no"}, now)},
			status: 401, code: "APIGW.0301", msg: "verify aksk signature fail"},
		"a query changed after signing is refused": {
			edits:  []func(*http.Request){signed(key, now), func(r *http.Request) { r.URL.RawQuery = "limit=1" }},
			status: 401, code: "APIGW.0301", msg: "verify aksk signature fail"},
		"a header changed after signing is refused": {
			edits:  []func(*http.Request){header("X-Project-Id", "p2"), signed(key, now), header("X-Project-Id", "p1")},
			status: 401, code: "APIGW.0301", msg: "verify aksk signature fail"},
		"a signed header that is missing is refused": {
			edits:  []func(*http.Request){header("X-Other", "1"), signed(key, now), func(r *http.Request) { r.Header.Del("X-Other") }},
			status: 401, code: "APIGW.0301", msg: `signed header "x-other" is not in the request`},
		"a false hash of the body is refused": {
			edits:  []func(*http.Request){header("X-Sdk-Content-Sha256", strings.Repeat("0", 64)), signed(key, now)},
			status: 401, code: "APIGW.0301", msg: "does not match the body"},
		"a plus for a space is refused, since it stands for itself": {
			query: "namespace=a+b", edits: []func(*http.Request){signed(key, now)}, status: 401, code: "APIGW.0301"},
		"an unsigned date is refused": {
			edits: []func(*http.Request){signed(key, now), header("X-Other", "1"), func(r *http.Request) {
				signedWith(r, key, []string{"x-other"})
			}}, status: 401, code: "APIGW.0301", msg: "X-Sdk-Date must be signed"},
		"a date of another form is refused": {
			edits:  []func(*http.Request){signed(key, now), header("X-Sdk-Date", "yesterday")},
			status: 401, code: "APIGW.0301", msg: "x-sdk-date must be of the form"},
		"a date too old is refused": {
			edits:  []func(*http.Request){signed(key, now.Add(-15*time.Minute-time.Second))},
			status: 401, code: "APIGW.0303", msg: "more than 15 minutes"},
		"a date too far ahead is refused": {
			edits:  []func(*http.Request){signed(key, now.Add(15*time.Minute+time.Second))},
			status: 401, code: "APIGW.0303", msg: "more than 15 minutes"},
		"a temporary key without its token is refused": {
			edits:  []func(*http.Request){signed(hsstest.Credential{AccessKey: "TEMP", SecretKey: "SK2"}, now)},
			status: 401, code: "APIGW.0301", msg: "x-security-token is not"},
		"a permanent key with a token is refused": {
			edits: []func(*http.Request){header("X-Security-Token", "token"), signed(key, now)}, status: 401, code: "APIGW.0301", msg: "x-security-token is not"},
		"an unsigned security token is refused": {
			edits: []func(*http.Request){signed(temporary, now), func(r *http.Request) {
				signedWith(r, temporary, []string{"x-sdk-date"})
			}}, status: 401, code: "APIGW.0301", msg: "x-security-token must be signed"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hsstest.NewHandler(hsstest.WithCredentials(key, temporary), hsstest.WithTokens("known"),
				hsstest.WithClock(newClock().now))
			got := ask(t, h, tc.query, tc.edits...)
			if got.Status != tc.status || got.ErrorCode != tc.code || !strings.Contains(got.ErrorMsg, tc.msg) {
				t.Errorf("got %d %s %q, want %d %s %q", got.Status, got.ErrorCode, got.ErrorMsg, tc.status, tc.code, tc.msg)
			}
			if got.Status != 200 && (got.RequestID == "" || got.RequestID != got.Header.Get("X-Request-Id")) {
				t.Errorf("request_id is %q, header %q: want the same", got.RequestID, got.Header.Get("X-Request-Id"))
			}
		})
	}
}

func TestTheDefaultCredentialIsAccepted(t *testing.T) {
	t.Parallel()
	h := hsstest.NewHandler()
	if got := ask(t, h, "", signed(hsstest.DefaultCredential(), time.Now())); got.Status != 200 {
		t.Errorf("got %d %s", got.Status, got.Raw)
	}
}

func TestTheDefaultCredentialIsNotAcceptedBesideOthers(t *testing.T) {
	t.Parallel()
	h := hsstest.NewHandler(hsstest.WithTokens("t"))
	if got := ask(t, h, "", signed(hsstest.DefaultCredential(), time.Now())); got.Status != 401 {
		t.Errorf("got %d %s", got.Status, got.Raw)
	}
}

func TestFiveFailedSignaturesInARowLockTheAccessKey(t *testing.T) {
	t.Parallel()
	at := newClock()
	good := hsstest.Credential{AccessKey: "AK", SecretKey: "SK"}
	bad := hsstest.Credential{AccessKey: "AK", SecretKey: "no"}
	other := hsstest.Credential{AccessKey: "OTHER", SecretKey: "SK"}
	h := hsstest.NewHandler(hsstest.WithCredentials(good, other), hsstest.WithClock(at.now))
	fail := func(times int) {
		for range times {
			ask(t, h, "", signed(bad, at.now()))
		}
	}
	expect := func(when string, c hsstest.Credential, status int) {
		t.Helper()
		if got := ask(t, h, "", signed(c, at.now())); got.Status != status {
			t.Errorf("%s: got %d %s, want %d", when, got.Status, got.ErrorMsg, status)
		}
	}
	fail(4)
	expect("after four failures", good, 200)
	fail(4)
	expect("after four more, the row being broken", good, 200)
	fail(5)
	expect("after five failures", good, 401)
	expect("another key", other, 200)
	at.advance(5*time.Minute - time.Second)
	expect("just before five minutes", good, 401)
	at.advance(time.Second)
	expect("after five minutes", good, 200)
	fail(1)
	expect("the count began anew", good, 200)
}

func TestProjects(t *testing.T) {
	t.Parallel()
	limited := hsstest.Credential{AccessKey: "AK", SecretKey: "SK", Projects: []string{"p1"}}
	now := newClock().now()
	path := func(project string) func(*http.Request) {
		return func(r *http.Request) { r.URL.Path = "/v5/" + project + "/image/registries/images" }
	}
	tests := map[string]struct {
		edits  []func(*http.Request)
		status int
		code   string
	}{
		"a project that the key may ask":        {[]func(*http.Request){path("p1"), signed(limited, now)}, 200, ""},
		"a project that the key may not ask":    {[]func(*http.Request){path("p2"), signed(limited, now)}, 400, "HSS.0013"},
		"a project that doesn't exist":          {[]func(*http.Request){path("p3"), signed(limited, now)}, 400, "HSS.0010"},
		"another project in the header":         {[]func(*http.Request){func(r *http.Request) { r.Header.Set("X-Project-Id", "p2") }, signed(limited, now)}, 400, "HSS.0010"},
		"a token may ask any project":           {[]func(*http.Request){path("p2"), func(r *http.Request) { r.Header.Set("X-Auth-Token", "t") }}, 200, ""},
		"a missing project is an unknown path":  {[]func(*http.Request){path(""), signed(limited, now)}, 404, "APIGW.0101"},
		"another path is unknown":               {[]func(*http.Request){func(r *http.Request) { r.URL.Path = "/v5/p1/image/registry" }}, 404, "APIGW.0101"},
		"a path that goes on is unknown":        {[]func(*http.Request){func(r *http.Request) { r.URL.Path = listPath + "/1" }}, 404, "APIGW.0101"},
		"another method is unknown":             {[]func(*http.Request){func(r *http.Request) { r.Method = http.MethodPost }}, 404, "APIGW.0101"},
		"another version of the API is unknown": {[]func(*http.Request){func(r *http.Request) { r.URL.Path = strings.Replace(listPath, "v5", "v1", 1) }}, 404, "APIGW.0101"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hsstest.NewHandler(hsstest.WithProjects("p1", "p2"), hsstest.WithCredentials(limited),
				hsstest.WithTokens("t"), hsstest.WithClock(newClock().now))
			got := ask(t, h, "", tc.edits...)
			if got.Status != tc.status || got.ErrorCode != tc.code {
				t.Errorf("got %d %s, want %d %s", got.Status, got.Raw, tc.status, tc.code)
			}
			if strings.HasPrefix(tc.code, "HSS") && (got.ErrorDescription == "" || got.RequestID != "") {
				t.Errorf("got %s, want the shape of HSS", got.Raw)
			}
		})
	}
}

func TestACredentialPrintsWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	c := hsstest.Credential{AccessKey: "AK", SecretKey: "s3cret", SecurityToken: "s3cret"}
	inventory := inventoryfile.File{Credentials: []hsstest.Credential{c}}
	for _, printed := range []string{
		fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%+v", inventory),
		fmt.Sprintf("%#v", inventory), c.LogValue().String(), fmt.Sprintf("%+v", hsstest.NewHandler(hsstest.WithCredentials(c))),
	} {
		if strings.Contains(printed, "s3cret") {
			t.Errorf("printed %s", printed)
		}
	}
}
