package certificate_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/certificate"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	a, b := newRoot(t, start, time.Hour), newRoot(t, start, time.Hour)
	both := append(a.PEM(), b.PEM()...)
	tests := map[string]struct {
		// seen is what all webhooks hold at minute 0, 1, 2 …
		seen         [][][]byte
		sinceA       int
		doesntTrustA bool
		strangers    map[string]time.Time
	}{
		"nothing was seen":                         {seen: nil, doesntTrustA: true},
		"no webhooks vouch for nobody":             {seen: [][][]byte{{}}, doesntTrustA: true},
		"one that is there is trusted":             {seen: [][][]byte{{a.PEM()}}},
		"one that stays is trusted since then":     {seen: [][][]byte{{}, {a.PEM()}, {both}}, sinceA: 1, strangers: map[string]time.Time{b.Fingerprint(): start.Add(2 * time.Minute)}},
		"one that comes back is trusted from then": {seen: [][][]byte{{a.PEM()}, {b.PEM()}, {both}}, sinceA: 2, strangers: map[string]time.Time{b.Fingerprint(): start.Add(time.Minute)}},
		"one that a webhook lacks isn't trusted":   {seen: [][][]byte{{both, b.PEM()}}, doesntTrustA: true, strangers: map[string]time.Time{b.Fingerprint(): start}},
		"one that any webhook has is a stranger":   {seen: [][][]byte{{both, a.PEM()}}, strangers: map[string]time.Time{b.Fingerprint(): start}},
		"what isn't PEM is nobody":                 {seen: [][][]byte{{[]byte("junk")}}, doesntTrustA: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var trust certificate.Trust
			strangers := map[string]time.Time{}
			for minute, bundles := range tt.seen {
				now := start.Add(time.Duration(minute) * time.Minute)
				trust.Observe(now, bundles...)
				strangers = trust.Strangers(now, [][]byte{a.PEM()})
			}
			since, isTrusted := trust.Since(a)
			if want := start.Add(time.Duration(tt.sinceA) * time.Minute); isTrusted && !since.Equal(want) || isTrusted == tt.doesntTrustA {
				t.Errorf("trusted: %t since %s, want %s", isTrusted, since, want)
			}
			if tt.strangers == nil {
				tt.strangers = map[string]time.Time{}
			}
			if diff := cmp.Diff(tt.strangers, strangers); diff != "" {
				t.Errorf("strangers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNobodyIsNotTrusted(t *testing.T) {
	t.Parallel()
	var trust certificate.Trust
	if _, isTrusted := trust.Since(nil); isTrusted {
		t.Error("no authority is trusted")
	}
}
