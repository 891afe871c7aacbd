package hss

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzParseINI(f *testing.F) {
	f.Add("[basic]\nak = AK\nsk = SK\n")
	f.Add("\ufeff[ basic ] ; c\r\nak: 'A' # c\r\nsk=\"x\"")
	f.Add("[basic\n=\n[]\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseINI(text, profileSection)
		if err != nil && values != nil {
			t.Errorf("both values and an error: %v", err)
		}
		for key, value := range values {
			if strings.ContainsAny(key+value, "\n") || key != strings.TrimSpace(key) {
				t.Errorf("key %q has the value %q", key, value)
			}
		}
		c, err := parseProfile(text)
		if err == nil && (c.AccessKey == "" || c.SecretKey.Empty()) {
			t.Error("a profile without keys is accepted")
		}
	})
}

func FuzzCanonicalQuery(f *testing.F) {
	f.Add("a=1&a=0&b=%20+~&c")
	f.Add("image_name=%E9%95%9C&limit=200&=x")
	f.Fuzz(func(t *testing.T, raw string) {
		canonical, err := canonicalQuery(raw)
		if err != nil {
			return
		}
		want, _ := url.ParseQuery(raw)
		got, err := url.ParseQuery(canonical)
		if err != nil {
			t.Fatalf("%q cannot be read: %v", canonical, err)
		}
		for _, values := range want {
			slices.Sort(values)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("other parameters (-want +got):\n%s", diff)
		}
		again, err := canonicalQuery(canonical)
		if err != nil || again != canonical {
			t.Errorf("%q becomes %q, error %v", canonical, again, err)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31m\r\n\u202eb", 400)
	f.Fuzz(func(t *testing.T, s string, n int) {
		text := clean(strings.Repeat(s, 1+max(n, 0)%1000))
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) || len([]rune(text)) > maxMessage+1 {
			t.Errorf("%q is not clean", text)
		}
	})
}
