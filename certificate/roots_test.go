package certificate_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/certificate"
)

func TestRootsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	current, next, previous := newRoot(t, start, time.Hour), newRoot(t, start, time.Hour), newRoot(t, start, time.Hour)
	tests := map[string]*certificate.Roots{
		"none":                          {},
		"one":                           {Current: current},
		"one in use and the next":       {Current: current, Next: next},
		"one in use and those before":   {Current: current, Previous: append(previous.PEM(), next.PEM()...)},
		"one of each, in one rotation":  {Current: current, Next: next, Previous: previous.PEM()},
		"only one before, with none in": {Previous: previous.PEM()},
	}
	for name, roots := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := roots.Data()
			if err != nil {
				t.Fatal(err)
			}
			got, err := certificate.ParseRoots(data)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Current.Equal(roots.Current) || !got.Next.Equal(roots.Next) || !bytes.Equal(got.Previous, roots.Previous) {
				t.Errorf("got %v", got)
			}
			if diff := cmp.Diff(roots.PEMs(), got.PEMs()); diff != "" {
				t.Errorf("PEMs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfDamagedRootsTheGoodOnesAreRead(t *testing.T) {
	t.Parallel()
	current, next, previous := newRoot(t, start, time.Hour), newRoot(t, start, time.Hour), newRoot(t, start, time.Hour)
	whole := certificate.Roots{Current: current, Next: next, Previous: previous.PEM()}
	tests := map[string]struct {
		damage                             func(map[string][]byte)
		lacksCurrent, lacksNext, lacksPast bool
		want                               string
	}{
		"a lost key":               {func(d map[string][]byte) { delete(d, "ca.key") }, true, false, false, "ca.crt and ca.key: the key: it isn't a PEM block of type PRIVATE KEY"},
		"a next one that is junk":  {func(d map[string][]byte) { d["next.crt"] = []byte("junk") }, false, true, false, "next.crt and next.key: the certificate: it isn't a PEM block of type CERTIFICATE"},
		"junk before":              {func(d map[string][]byte) { d["previous.crt"] = []byte("junk") }, false, false, true, "previous.crt: it isn't PEM"},
		"a key among those before": {func(d map[string][]byte) { d["previous.crt"] = d["ca.key"] }, false, false, true, "previous.crt: the certificate: it isn't a PEM block of type CERTIFICATE"},
		"keys that are exchanged": {func(d map[string][]byte) { d["ca.key"], d["next.key"] = d["next.key"], d["ca.key"] }, true, true, false,
			"ca.crt and ca.key: the key isn't the certificate's\nnext.crt and next.key: the key isn't the certificate's"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := whole.Data()
			if err != nil {
				t.Fatal(err)
			}
			tt.damage(data)
			got, err := certificate.ParseRoots(data)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
			if (got.Current == nil) != tt.lacksCurrent || (got.Next == nil) != tt.lacksNext || (len(got.Previous) == 0) != tt.lacksPast {
				t.Errorf("got %v", got)
			}
		})
	}
}

func FuzzParseRoots(f *testing.F) {
	root := newRoot(f, start, time.Hour)
	f.Add(root.PEM(), keyPEM(f, root), root.PEM())
	f.Add([]byte("junk"), []byte{}, append(root.PEM(), "junk"...))
	f.Fuzz(func(t *testing.T, certificatePEM, key, previous []byte) {
		roots, err := certificate.ParseRoots(map[string][]byte{"ca.crt": certificatePEM, "ca.key": key, "previous.crt": previous})
		if err != nil {
			return
		}
		data, err := roots.Data()
		if err != nil {
			t.Fatal(err)
		}
		again, err := certificate.ParseRoots(data)
		if err != nil || !again.Current.Equal(roots.Current) || !bytes.Equal(again.Previous, roots.Previous) {
			t.Errorf("what was read isn't read again: %v", err)
		}
	})
}
