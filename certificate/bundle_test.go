package certificate_test

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/certificate"
)

func TestAddToBundle(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	one, two := newAuthority(t, clk, "a").PEM(), newAuthority(t, clk, "a").PEM()
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := map[string]struct {
		bundle []byte
		now    time.Time
		want   []byte
	}{
		"an empty bundle gets the authority":    {nil, start, two},
		"another replica's authority stays":     {one, start, join(one, two)},
		"an authority isn't added twice":        {join(two, one), start, join(two, one)},
		"an expired authority goes":             {one, start.AddDate(11, 0, 0), two},
		"what is no certificate goes":           {join(junk, one), start, join(one, two)},
		"text that is no PEM goes":              {[]byte("nonsense"), start, two},
		"no more than eight stay, the youngest": {bytes.Repeat(one, 9), start, join(bytes.Repeat(one, 7), two)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := certificate.AddToBundle(tt.bundle, two, tt.now)
			if diff := cmp.Diff(string(tt.want), string(got)); diff != "" {
				t.Errorf("AddToBundle (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeBundle(t *testing.T) {
	t.Parallel()
	a, b, c := newRoot(t, start, time.Hour), newRoot(t, start, time.Hour), newRoot(t, start, time.Hour)
	old := newRoot(t, start.AddDate(-1, 0, 0), time.Hour)
	join := func(roots ...*certificate.Root) []byte {
		var all []byte
		for _, r := range roots {
			all = append(all, r.PEM()...)
		}
		return all
	}
	dropC := func(fingerprint string) bool { return fingerprint == c.Fingerprint() }
	tests := map[string]struct {
		bundle []byte
		drop   func(string) bool
		want   []byte
	}{
		"both are added":                     {nil, nil, join(a, b)},
		"both stay as they are":              {join(b, a), nil, join(b, a)},
		"another one stays":                  {join(c, a), nil, join(c, a, b)},
		"another one is dropped":             {join(c, a, b), dropC, join(a, b)},
		"what is ours isn't dropped":         {join(a, b), func(string) bool { return true }, join(a, b)},
		"what has expired goes":              {join(old, a, b), nil, join(a, b)},
		"what is there twice is there once":  {join(a, b, a), nil, join(a, b)},
		"of too many ours stay":              {bytes.Repeat(join(c), 9), nil, join(c, c, c, c, c, c, a, b)},
		"comments make no difference":        {append([]byte("# ours\n"), join(a, b)...), nil, append([]byte("# ours\n"), join(a, b)...)},
		"the order makes no difference":      {join(c, b, a), nil, join(c, b, a)},
		"one that is missing is added ahead": {join(b), nil, join(a, b)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := certificate.MergeBundle(tt.bundle, [][]byte{a.PEM(), b.PEM()}, start, tt.drop)
			if diff := cmp.Diff(string(tt.want), string(got)); diff != "" {
				t.Errorf("MergeBundle (-want +got):\n%s", diff)
			}
			again := certificate.MergeBundle(got, [][]byte{a.PEM(), b.PEM()}, start, tt.drop)
			if diff := cmp.Diff(string(got), string(again)); diff != "" {
				t.Errorf("it doesn't come to rest:\n%s", diff)
			}
		})
	}
}
