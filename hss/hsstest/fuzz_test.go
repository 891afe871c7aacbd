package hsstest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

func FuzzParseInventory(f *testing.F) {
	for _, seed := range []string{
		"", "images: [{image_name: a}]", `{"images":[{"image_name":"a","id":1}]}`, "images:\n- image_name: a\n  latest_scan_time: -2h\n",
		"credentials: [{access_key: a, secret_key: b}]", "faults: [{kind: slow, pause: 1s}]", "a: &a [*a]", "---\n---\n", "images: [{association_images: [{}]}]",
	} {
		f.Add([]byte(seed))
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		inventory, err := inventoryfile.Parse(data, start)
		if err != nil {
			if inventory != nil {
				t.Error("got an inventory beside an error")
			}
			return
		}
		for i, image := range inventory.Images {
			if image.ImageName == "" || !slices.Contains(inventoryfile.ScanStatuses(), image.ScanStatus) || !slices.Contains(inventoryfile.ImageTypes(), image.ImageType) {
				t.Errorf("row %d is %+v", i+1, image)
			}
		}
		// A server can be made of whatever is accepted.
		h := NewHandler(WithInventory(inventory))
		if got := len(h.Images()); got != len(inventory.Images) {
			t.Errorf("the server has %d rows, want %d", got, len(inventory.Images))
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"", "limit=1&offset=2", "namespace=a&image_name=b", "limit=0", "%zz", "a;b", "sort_key=latest_scan_time&sort_dir=desc",
		"start_latest_scan_time=5&end_latest_scan_time=4", "has_vul=true&risky=false", "instance_id=&instance_name",
	} {
		f.Add(seed)
	}
	known, o := parameters(), newOptions(nil)
	rows := newSnapshot([]Image{{Namespace: "a", ImageName: "b"}, {ImageName: "c", VulNum: new(1)}}, nil)
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw, known, o)
		if err != nil {
			return
		}
		if q.limit < 1 || q.limit > 200 || q.offset < 0 || q.offset > 2_000_000 {
			t.Errorf("accepted offset %d, limit %d", q.offset, q.limit)
		}
		if page, total := rows.page(q, "p", false); len(page) > q.limit || total > len(rows.images) {
			t.Errorf("a page of %d of %d rows", len(page), total)
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("accepted a query that can't be parsed: %v", err)
		}
		for name := range values {
			if known[name] == nil {
				t.Errorf("accepted parameter %q", name)
			}
		}
	})
}

func FuzzParseAuthorization(f *testing.F) {
	signature := strings.Repeat("0a", 32)
	for _, seed := range []string{
		"", "Bearer x", "SDK-HMAC-SHA256 ", "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=" + signature,
		"SDK-HMAC-SHA256 Access=a,SignedHeaders=x-sdk-date,Signature=" + signature,
		"SDK-HMAC-SHA256 Access=a, Access=b, SignedHeaders=x-sdk-date, Signature=" + signature,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=X-Sdk-Date, Signature=" + signature,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date;host, Signature=" + signature,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		auth, err := parseAuthorization(header)
		if err != nil {
			return
		}
		if auth.accessKey == "" || len(auth.signature) != 32 || !slices.Contains(auth.signedHeaders, "x-sdk-date") ||
			!slices.IsSorted(auth.signedHeaders) || len(slices.Compact(slices.Clone(auth.signedHeaders))) != len(auth.signedHeaders) {
			t.Errorf("accepted %q as %+v", header, auth)
		}
	})
}

func TestAuthorizationHeaders(t *testing.T) {
	t.Parallel()
	signature := strings.Repeat("0a", 32)
	tests := map[string]string{ // header: what is wrong; empty: nothing
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=" + signature: "",
		"SDK-HMAC-SHA256 Access=a,SignedHeaders=x-sdk-date,Signature=" + signature:        "",
		"sdk-hmac-sha256 Access=a": "must begin with",
		"SDK-HMAC-SHA256 SignedHeaders=x-sdk-date, Signature=" + signature:                            `lacks "Access"`,
		"SDK-HMAC-SHA256 Access=a, Signature=" + signature:                                            `lacks "SignedHeaders"`,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date":                                          `lacks "Signature"`,
		"SDK-HMAC-SHA256 Access=a, Access=b, SignedHeaders=x-sdk-date, Signature=" + signature:        `has "Access" twice`,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date, Other=1, Signature=" + signature:         "has 4 fields",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + signature:                        "X-Sdk-Date must be signed",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=X-Sdk-Date, Signature=" + signature:                  "lower case",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date;;y, Signature=" + signature:               "lower case",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date;host, Signature=" + signature:             "out of order or repeated",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date;x-sdk-date, Signature=" + signature:       "out of order or repeated",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date, Signature=0a":                            "64 hexadecimal digits",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date, Signature=" + strings.ToUpper(signature): "in lower case",
	}
	for header, want := range tests {
		_, err := parseAuthorization(header)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", header, err, want)
		}
	}
}

func TestCanonicalForms(t *testing.T) {
	t.Parallel()
	for escaped, want := range map[string]string{
		"/": "/", "/a": "/a/", "/a/": "/a/", "/a%20b/%E4%B8%AD": "/a%20b/%E4%B8%AD/", "/a%2Fb": "/a%2Fb/", "/a+b~_-.": "/a%2Bb~_-./",
	} {
		if got, err := canonicalPath(escaped); got != want || err != nil {
			t.Errorf("path %s: got %s, %v, want %s", escaped, got, err, want)
		}
	}
	for raw, want := range map[string]string{
		"": "", "b=2&a=1": "a=1&b=2", "a=2&a=1": "a=1&a=2", "a&b=": "a=&b=", "a=b%3Dc%26": "a=b%3Dc%26", "a=x+y": "a=x%2By",
		"a-b=1&a=2": "a=2&a-b=1", "%E4%B8%AD=%20": "%E4%B8%AD=%20", "a=b=c": "a=b%3Dc",
	} {
		if got, err := canonicalQuery(raw); got != want || err != nil {
			t.Errorf("query %s: got %s, %v, want %s", raw, got, err, want)
		}
	}
	if _, err := canonicalQuery("a=%zz"); err == nil {
		t.Error("a broken escape was accepted")
	}
}

func TestABodyIsHashedAsItIs(t *testing.T) {
	t.Parallel()
	const hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for name, tc := range map[string]struct{ body, declared, want string }{
		"a body":           {"hello", "", hash},
		"a true hash":      {"hello", hash, hash},
		"a false hash":     {"hell", hash, ""},
		"unsigned":         {"hello", unsignedPayload, unsignedPayload},
		"a body too large": {strings.Repeat("x", maxSignedBody+1), "", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(contentHeader, tc.declared)
		if got, err := bodyHash(r); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
