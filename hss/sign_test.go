package hss_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// signedAt is the date of the signatures in testdata.
func signedAt() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func accessKey() hss.Credentials {
	return hss.Credentials{AccessKey: "AKEXAMPLE", SecretKey: hss.NewSecret("SKEXAMPLE")}
}

// vector is a request and what the official SDK v0.1.207 makes of it.
type vector struct {
	Name, Method, Path, Body, Authorization string
	Query                                   map[string][]string
	Headers                                 map[string]string
}

func (v vector) request(t *testing.T) *http.Request {
	t.Helper()
	// As the SDK has it, the path is set as text, so that "%2F" stays.
	r, err := http.NewRequestWithContext(t.Context(), v.Method, "https://hss.cn-north-4.myhuaweicloud.com", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Path = v.Path
	if unescaped, err := url.PathUnescape(v.Path); err == nil && strings.Contains(v.Path, "%2F") {
		r.URL.Path, r.URL.RawPath = unescaped, v.Path
	}
	r.URL.RawQuery = url.Values(v.Query).Encode()
	for name, value := range v.Headers {
		r.Header.Set(name, value)
	}
	return r
}

func TestSignaturesEqualThoseOfTheOfficialSDK(t *testing.T) {
	t.Parallel()
	var vectors []vector
	if err := json.Unmarshal(readTestdata(t, "signatures.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			r := v.request(t)
			credentials := accessKey()
			credentials.SecurityToken = hss.NewSecret(v.Headers["X-Security-Token"])
			if err := hss.Sign(r, []byte(v.Body), credentials, signedAt()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v.Authorization, r.Header.Get("Authorization")); diff != "" {
				t.Errorf("Authorization (-SDK +ours):\n%s", diff)
			}
			if got := r.Header.Get("X-Sdk-Date"); got != "20260102T030405Z" {
				t.Errorf("X-Sdk-Date is %q", got)
			}
		})
	}
}

func newRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSignSendsWhatTheCredentialsHave(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		credentials hss.Credentials
		want        map[string]string
		signed      string
	}{
		{
			name:        "a temporary key with its token and the project",
			credentials: hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret("SK"), SecurityToken: hss.NewSecret("STS"), ProjectID: "p1"},
			want:        map[string]string{"X-Security-Token": "STS", "X-Project-Id": "p1", "X-Auth-Token": ""},
			signed:      "SignedHeaders=x-project-id;x-sdk-date;x-security-token,",
		},
		{
			name:        "a token and no signature, even beside a key",
			credentials: hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret("SK"), Token: hss.NewSecret("TOKEN"), ProjectID: "p1"},
			want:        map[string]string{"X-Auth-Token": "TOKEN", "Authorization": "", "X-Sdk-Date": "", "X-Project-Id": "p1"},
		},
		{
			name:        "nothing that an earlier signature left",
			credentials: accessKey(),
			want:        map[string]string{"X-Auth-Token": "", "X-Security-Token": ""},
			signed:      "SignedHeaders=x-sdk-date,",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRequest(t, "https://hss.example.com/v5")
			for _, name := range []string{"X-Auth-Token", "X-Security-Token", "Authorization"} {
				r.Header.Set(name, "old")
			}
			if err := hss.Sign(r, nil, tc.credentials, signedAt()); err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if got := r.Header.Get("Authorization"); !strings.Contains(got, tc.signed) {
				t.Errorf("Authorization is %q, want %q in it", got, tc.signed)
			}
		})
	}
}

func TestSignIncludesHostOnlyIfTheRequestNamesIt(t *testing.T) {
	t.Parallel()
	r := newRequest(t, "https://hss.example.com/v5")
	r.Header.Set("Host", "other.example.com")
	r.Header.Set("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")
	if err := hss.Sign(r, []byte("body"), accessKey(), signedAt()); err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Authorization"); !strings.Contains(got, "SignedHeaders=host;x-sdk-content-sha256;x-sdk-date,") {
		t.Errorf("Authorization is %q", got)
	}
}

func TestSignRefusesWhatCannotBeSigned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		credentials hss.Credentials
		target      string
		want        string
	}{
		{"no access key", hss.Credentials{SecretKey: hss.NewSecret("SK")}, "https://h/", "an access key and a secret key, or a token"},
		{"no secret key", hss.Credentials{AccessKey: "AK"}, "https://h/", "an access key and a secret key, or a token"},
		{"a line break in the access key", hss.Credentials{AccessKey: "A\nK", SecretKey: hss.NewSecret("SK")}, "https://h/", "access key contains a control character"},
		{"a comma in the access key", hss.Credentials{AccessKey: "A,K", SecretKey: hss.NewSecret("SK")}, "https://h/", "contains a space or a comma"},
		{"a line break in the token", hss.Credentials{Token: hss.NewSecret("TO\r\nKEN")}, "https://h/", "token contains a control character"},
		{"a query that cannot be read", accessKey(), "https://h/?a=%zz", "query cannot be signed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRequest(t, tc.target)
			err := hss.Sign(r, nil, tc.credentials, signedAt())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want %q in it", err, tc.want)
			}
			if strings.Contains(err.Error(), "KEN") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet,
		"https://hss.cn-north-4.myhuaweicloud.com/v5/0123/image/registries/images?limit=200&image_name=app&namespace=prod&offset=0", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := hss.Sign(r, nil, accessKey(), signedAt()); err != nil {
			b.Fatal(err)
		}
	}
}
