package hsstest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	now := newClock().Now()
	key := hsstest.Credential{AccessKey: "AK", SecretKey: "SK"}
	temporary := hsstest.Credential{AccessKey: "TEMP", SecretKey: "SK2", SecurityToken: "token"}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	type edits = []func(*http.Request)
	const wrong = "verify aksk signature fail"
	scheme := func(fields string) edits { return edits{header("Authorization", "SDK-HMAC-SHA256 "+fields)} }
	for name, tc := range map[string]struct {
		query string
		edits edits
		code  string // empty: accepted
		msg   string
	}{
		"a signed request":                    {"", edits{signed(key, now)}, "", ""},
		"a query with special characters":     {"namespace=a%20b%2F%E4%B8%AD%3D%26&image_name=~._-", edits{signed(key, now)}, "", ""},
		"further signed headers":              {"", edits{header("X-Project-Id", "p1"), header("User-Agent", "  me "), signed(key, now)}, "", ""},
		"a temporary key":                     {"", edits{signed(temporary, now)}, "", ""},
		"a known token":                       {"", edits{header("X-Auth-Token", "known")}, "", ""},
		"no authentication":                   {"", nil, "0301", "x-auth-token not found"},
		"a token that is too long":            {"", edits{header("X-Auth-Token", strings.Repeat("t", 32769))}, "0301", "1 to 32768"},
		"a short signature":                   {"", scheme("Access=a, SignedHeaders=x-sdk-date, Signature=0a"), "0301", "64 hexadecimal digits"},
		"a body that was changed":             {"", edits{signed(key, now), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }}, "0301", wrong},
		"an unknown access key":               {"", edits{signed(hsstest.Credential{AccessKey: "NO", SecretKey: "SK"}, now)}, "0301", "access key not found"},
		"a wrong secret key":                  {"", edits{signed(hsstest.Credential{AccessKey: "AK", SecretKey: "no"}, now)}, "0301", wrong},
		"a query that was changed":            {"", edits{signed(key, now), func(r *http.Request) { r.URL.RawQuery = "limit=1" }}, "0301", wrong},
		"a plus sign for a space":             {"namespace=a+b", edits{signed(key, now)}, "0301", wrong},
		"a temporary key without its token":   {"", edits{signed(hsstest.Credential{AccessKey: "TEMP", SecretKey: "SK2"}, now)}, "0301", wrong},
		"a security token that is not signed": {"", edits{signed(hsstest.Credential{AccessKey: "TEMP", SecretKey: "SK2"}, now), header("X-Security-Token", "token")}, "0301", wrong},
		"a signed header that is missing":     {"", edits{header("X-Other", "1"), signed(key, now), func(r *http.Request) { r.Header.Del("X-Other") }}, "0301", wrong},
		"a date that is too old":              {"", edits{signed(key, now.Add(-15*time.Minute-time.Second))}, "0303", "more than 15 minutes"},
	} {
		h := hsstest.NewHandler(hsstest.WithCredentials(key, temporary), hsstest.WithTokens("known"), hsstest.WithClock(newClock().Now))
		got := ask(t, h, tc.query, tc.edits...)
		if (got.Status == 200) != (tc.code == "") || strings.TrimPrefix(got.ErrorCode, "APIGW.") != tc.code || !strings.Contains(got.ErrorMsg, tc.msg) {
			t.Errorf("%s: got %d %s %q, want %s %q", name, got.Status, got.ErrorCode, got.ErrorMsg, tc.code, tc.msg)
		}
		if got.Status != 200 && (got.RequestID == "" || got.RequestID != got.Header.Get("X-Request-Id")) {
			t.Errorf("%s: request_id is %q, header %q: want the same", name, got.RequestID, got.Header.Get("X-Request-Id"))
		}
	}
}

func TestPathsAndProjectsAreChecked(t *testing.T) {
	t.Parallel()
	path := func(path string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = path } }
	for name, tc := range map[string]struct {
		edit   func(*http.Request)
		status int
		code   string
	}{
		"the project in the header":      {func(r *http.Request) { r.Header.Set("X-Project-Id", "p1") }, 200, ""},
		"another project in the header":  {func(r *http.Request) { r.Header.Set("X-Project-Id", "p2") }, 400, "HSS.0010"},
		"another path is unknown":        {path("/v5/p1/image/registry"), 404, "APIGW.0101"},
		"a path that goes on is unknown": {path(listPath + "/1"), 404, "APIGW.0101"},
		"another method is unknown":      {func(r *http.Request) { r.Method = http.MethodPost }, 404, "APIGW.0101"},
	} {
		got := ask(t, open(t), "", tc.edit)
		if got.Status != tc.status || got.ErrorCode != tc.code {
			t.Errorf("%s: got %d %s, want %d %s", name, got.Status, got.Raw, tc.status, tc.code)
		}
		if strings.HasPrefix(tc.code, "HSS") && (got.ErrorDescription == "" || got.RequestID != "") {
			t.Errorf("%s: got %s, want the shape of HSS", name, got.Raw)
		}
	}
}
