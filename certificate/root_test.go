package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/certificate"
)

func newRoot(t testing.TB, now time.Time, lifetime time.Duration) *certificate.Root {
	t.Helper()
	root, err := certificate.NewRoot(now, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func keyPEM(t testing.TB, root *certificate.Root) []byte {
	t.Helper()
	key, err := root.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestARootIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	root := newRoot(t, start, time.Hour)
	again, err := certificate.ParseRoot(root.PEM(), keyPEM(t, root))
	if err != nil {
		t.Fatal(err)
	}
	if !again.Equal(root) || again.Fingerprint() != root.Fingerprint() || !bytes.Equal(keyPEM(t, again), keyPEM(t, root)) {
		t.Error("another one was read")
	}
	if got, want := again.Expires(), start.Add(time.Hour); !got.Equal(want) {
		t.Errorf("it is valid until %s, want %s", got, want)
	}
}

func TestParseRootRefuses(t *testing.T) {
	t.Parallel()
	root, other := newRoot(t, start, time.Hour), newRoot(t, start, time.Hour)
	tests := map[string]struct {
		certificate, key []byte
		want             string
	}{
		"nothing":                 {nil, nil, "the certificate: it isn't a PEM block"},
		"no PEM":                  {[]byte("hush"), keyPEM(t, root), "the certificate: it isn't a PEM block"},
		"a key for a certificate": {keyPEM(t, root), keyPEM(t, root), "the certificate: it isn't a PEM block of type CERTIFICATE"},
		"two certificates":        {append(root.PEM(), other.PEM()...), keyPEM(t, root), "more than one"},
		"no certificate in PEM":   {block("CERTIFICATE", "hush"), keyPEM(t, root), "the certificate: "},
		"a serving certificate":   {servingPEM(t, root), keyPEM(t, root), "no authority that signs itself"},
		"a missing key":           {root.PEM(), nil, "the key: it isn't a PEM block"},
		"no key in PEM":           {root.PEM(), block("PRIVATE KEY", "hush"), "the key: it isn't in PKCS #8"},
		"another one's key":       {root.PEM(), keyPEM(t, other), "the key isn't the certificate's"},
		"a key of another kind":   {root.PEM(), pkcs8(t, rsaKey(t)), "the key: it isn't an ECDSA P-256 key"},
		"a key of another curve":  {root.PEM(), pkcs8(t, p384Key(t)), "the key: it isn't an ECDSA P-256 key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := certificate.ParseRoot(tt.certificate, tt.key)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells what it was given: %v", err)
			}
		})
	}
}

func block(kind, content string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)})
}

func servingPEM(t *testing.T, root *certificate.Root) []byte {
	t.Helper()
	issuer := newIssuer(t)
	if err := issuer.Use(root); err != nil {
		t.Fatal(err)
	}
	serving, err := issuer.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", string(serving.Certificate[0]))
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", string(der))
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func p384Key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestARootShowsNoKey(t *testing.T) {
	t.Parallel()
	root := newRoot(t, start, time.Hour)
	want := fmt.Sprintf("authority %s, valid until 2026-11-23T13:00:00Z", root.Fingerprint())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, root); got != want {
			t.Errorf("%s prints %s, want %s", verb, got, want)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "root", root, "none", (*certificate.Root)(nil))
	if !strings.Contains(log.String(), `"root":"`+want+`","none":"no authority"`) {
		t.Errorf("the log has %s", log.String())
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	var none *certificate.Root
	root := newRoot(t, start, time.Hour)
	same := root
	if root.Equal(none) || none.Equal(root) || !none.Equal(nil) || !root.Equal(same) || root.Equal(newRoot(t, start, time.Hour)) {
		t.Error("Equal mistakes one for another")
	}
}

func TestValidAt(t *testing.T) {
	t.Parallel()
	root := newRoot(t, start, time.Hour)
	for at, want := range map[time.Duration]bool{
		-time.Hour: false, -time.Minute: true, 0: true, 59 * time.Minute: true, time.Hour: false,
	} {
		if got := root.ValidAt(start.Add(at)); got != want {
			t.Errorf("%s after it was made: %t, want %t", at, got, want)
		}
	}
}
