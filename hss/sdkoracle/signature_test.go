package sdkoracle_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

const (
	accessKey = "AKEXAMPLE"
	secretKey = "SK/example+key="
)

// input is a request to sign.
type input struct {
	method  string
	path    string
	query   map[string]any // string, bool, int64 or []string
	headers map[string]string
	body    string
	token   string
}

func day() time.Time { return time.Date(2026, 3, 1, 12, 34, 56, 0, time.UTC) }

// bySDK lets the official SDK sign in, and makes the request that it sends.
func bySDK(t *testing.T, endpoint string, in input, at time.Time) *http.Request {
	t.Helper()
	builder := request.NewHttpRequestBuilder().WithEndpoint(endpoint).WithPath(in.path).WithMethod(in.method)
	for name, value := range in.query {
		builder.AddQueryParam(name, reflect.ValueOf(value))
	}
	for name, value := range in.headers {
		builder.AddHeaderParam(name, value)
	}
	if in.token != "" {
		builder.AddHeaderParam("X-Security-Token", in.token)
	}
	if in.body != "" {
		builder.WithBody("", in.body)
	}
	built := builder.AddHeaderParam("X-Sdk-Date", at.UTC().Format(signer.BasicDateFormat)).Build()
	signature, err := signer.Sign(built, accessKey, secretKey)
	must(t, err)
	for name, value := range signature {
		built.AddHeaderParam(name, value)
	}
	sent, err := built.ConvertRequest()
	must(t, err)
	return sent.WithContext(t.Context())
}

// byUs lets hssgate sign the same request anew.
func byUs(t *testing.T, sent *http.Request, in input, at time.Time) string {
	t.Helper()
	ours := sent.Clone(t.Context())
	ours.Header.Del("Authorization")
	ours.Header.Del("X-Sdk-Date")
	credentials := hss.Credentials{AccessKey: accessKey, SecretKey: hss.NewSecret(secretKey),
		SecurityToken: hss.NewSecret(in.token), ProjectID: in.headers["X-Project-Id"]}
	must(t, hss.Sign(ours, []byte(in.body), credentials, at))
	return ours.Header.Get("Authorization")
}

func oddInputs() map[string]input {
	const path = "/v5/p1/image/registries/images"
	query := func(q map[string]any) input { return input{method: "GET", path: path, query: q} }
	return map[string]input{
		"nothing but a path":            query(nil),
		"a path that ends in a slash":   {method: "GET", path: path + "/"},
		"the root":                      {method: "GET", path: "/"},
		"a path with spaces and UTF-8":  {method: "GET", path: "/v5/a b/镜像/é~_-."},
		"a path of reserved characters": {method: "GET", path: "/a:b@c!$&'()*+,;=/[d]/%41"},
		"a path with empty segments":    {method: "GET", path: "//a///b"},
		"spaces":                        query(map[string]any{"namespace": " a  b ", "image_name": "+"}),
		"UTF-8":                         query(map[string]any{"namespace": "组织", "image_name": "😀é"}),
		"an empty value":                query(map[string]any{"instance_id": "", "namespace": "a"}),
		"only an empty value":           query(map[string]any{"instance_id": ""}),
		"a repeated key":                query(map[string]any{"namespace": []string{"b", "a", "", "a b"}}),
		"reserved characters":           query(map[string]any{"namespace": "a=b&c?d#e/f%20;:,$!'()*[]{}|\\^`\"<>@"}),
		"unreserved characters":         query(map[string]any{"namespace": "aZ09-_.~"}),
		"control characters":            query(map[string]any{"namespace": "a\tb\nc\x00\x7f"}),
		"bytes that are no UTF-8":       query(map[string]any{"namespace": "\xff\xfe"}),
		"equals signs at the end":       query(map[string]any{"namespace": "a==", "z": "="}),
		"numbers and booleans":          query(map[string]any{"limit": int64(200), "has_vul": true}),
		"keys that sort by their bytes": query(map[string]any{"a": "1", "a-b": "2", "a_b": "3", "A": "4", "aa": "5", "é": "6"}),
		"keys to escape":                query(map[string]any{"a b": "1", "a[b]": "2", "a+b": "3"}),
		"headers": {method: "GET", path: path, headers: map[string]string{"X-Project-Id": "p1",
			"User-Agent": "  huaweicloud-usdk-go/3.0 ", "Accept": "*/*", "Content-Type": "application/json", "X-Odd_Name": "1", "X-Empty": ""}},
		"a security token": {method: "GET", path: path, token: "to/ken+=="},
		"a body":           {method: "POST", path: path, body: `{"a":"镜像"}`, headers: map[string]string{"Content-Type": "application/json"}},
	}
}

func TestSignaturesEqualTheSDKs(t *testing.T) {
	t.Parallel()
	for name, in := range oddInputs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := bySDK(t, "https://hss.cn-north-4.myhuaweicloud.com", in, day())
			if want, got := sent.Header.Get("Authorization"), byUs(t, sent, in, day()); got != want {
				t.Errorf("%s\n got %s\nwant %s", sent.URL, got, want)
			}
		})
	}
}

// words are what random inputs are made of.
func words() []string {
	return []string{"a", "Z", "0", " ", "+", "%", "%20", "=", "&", "/", "//", ";", "?", "#", "~", "_", "-", ".", "..", "*", "!", "'",
		"(", ")", "[", "]", "\\", "\"", "<", ":", "@", ",", "$", "é", "镜像", "😀", "\u00a0", "\t", "\x7f", "sha256:", "prod", "image_name"}
}

func randomText(random *rand.Rand, longest int, allowed []string) string {
	var text strings.Builder
	for range random.IntN(longest + 1) {
		text.WriteString(allowed[random.IntN(len(allowed))])
	}
	return text.String()
}

func randomInput(random *rand.Rand) input {
	plain := []string{"a", "B", "7", "-", ".", "镜", "=", "/", " "}
	in := input{method: "GET", path: "/" + randomText(random, 8, words()), query: map[string]any{}, headers: map[string]string{}}
	in.path = strings.NewReplacer("?", "", "#", "").Replace(in.path) // the SDK's path has no query
	for range random.IntN(6) {
		key := randomText(random, 4, words()) + "k"
		if random.IntN(4) == 0 {
			in.query[key] = []string{randomText(random, 4, words()), randomText(random, 4, words())}
			continue
		}
		in.query[key] = randomText(random, 8, words())
	}
	for n := range random.IntN(4) {
		in.headers[fmt.Sprintf("X-H%d", n)] = randomText(random, 5, plain)
	}
	if random.IntN(2) == 0 {
		in.method, in.body = "POST", randomText(random, 20, words())
	}
	return in
}

func TestSignaturesOfRandomRequestsEqualTheSDKs(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 2000 {
		in := randomInput(random)
		at := day().Add(time.Duration(random.IntN(1e9)) * time.Second)
		sent := bySDK(t, "https://hss.cn-north-4.myhuaweicloud.com", in, at)
		if want, got := sent.Header.Get("Authorization"), byUs(t, sent, in, at); got != want {
			t.Errorf("request %d, %#v:\n got %s\nwant %s", n, in, got, want)
		}
	}
}

// listInput makes an input fit for the list, whatever its query.
func listInput(in input) input {
	in.method, in.body = "GET", ""
	in.path = "/v5/p1/image/registries/images"
	delete(in.headers, "Content-Type")
	return in
}

func accepts(t *testing.T, r *http.Request) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusNotFound {
		body, _ := io.ReadAll(response.Body)
		t.Errorf("%s: got %d %s", r.URL, response.StatusCode, body)
	}
}

// TestTheServerAcceptsWhatTheSDKSigns checks the server's own verification on
// real connections.
func TestTheServerAcceptsWhatTheSDKSigns(t *testing.T) {
	t.Parallel()
	key := hsstest.Credential{AccessKey: accessKey, SecretKey: secretKey}
	s := serve(t, hsstest.WithCredentials(key), hsstest.WithClock(day))
	for name, in := range oddInputs() {
		if in.token != "" {
			continue // another credential
		}
		t.Run(name, func(t *testing.T) { accepts(t, bySDK(t, s.URL, listInput(in), day())) })
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		accepts(t, bySDK(t, s.URL, listInput(randomInput(random)), day()))
	}
	odd := input{method: "GET", path: "/v5/a b:镜像%41/image/registries/images"}
	accepts(t, bySDK(t, s.URL, odd, day()))
}
