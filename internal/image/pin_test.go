package image_test

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/image"
)

var pinDigest = "sha256:" + strings.Repeat("a", 64)

func TestPin(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"app:1.4":                         "app:1.4@" + pinDigest,
		"app":                             "app:latest@" + pinDigest,
		"SWR.example.com:443/prod/app:1":  "SWR.example.com:443/prod/app:1@" + pinDigest,
		"registry:5000/app":               "registry:5000/app:latest@" + pinDigest,
		"localhost:5000":                  "localhost:5000@" + pinDigest,
		"[::1]:5000/app":                  "[::1]:5000/app:latest@" + pinDigest,
		"index.docker.io/library/nginx:1": "index.docker.io/library/nginx:1@" + pinDigest,
	} {
		got, err := image.Pin(written, pinDigest)
		if err != nil || got != want {
			t.Errorf("Pin(%q) = %q, %v, want %q", written, got, err, want)
		}
	}
}

func TestPinRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ written, digest, says string }{
		"what names a digest":      {"app:1@" + pinDigest, pinDigest, "names a digest already"},
		"what can't be read":       {"App:1", pinDigest, "invalid image reference"},
		"nothing":                  {"", pinDigest, "invalid image reference"},
		"an empty digest":          {"app:1", "", "not be read as the same image"},
		"a digest that is a tag":   {"app:1", "latest", "not be read as the same image"},
		"a cut digest":             {"app:1", pinDigest[:20], "not be read as the same image"},
		"a digest in capitals":     {"app:1", "sha256:" + strings.Repeat("A", 64), "not be read as the same image"},
		"a digest and more":        {"app:1", pinDigest + "@" + pinDigest, "not be read as the same image"},
		"what is too long already": {strings.Repeat("a", 2000), pinDigest, "invalid image reference"},
	} {
		got, err := image.Pin(c.written, c.digest)
		if err == nil || got != "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %q, %v, want an error with %q", name, got, err, c.says)
		}
	}
}

// Whatever is pinned is the same image with the digest, and begins as it was
// written.
func FuzzPin(f *testing.F) {
	for _, s := range []string{"app", "app:1.4", "registry:5000/app", "[::1]/a:b", "localhost:5000", "docker.io:443/nginx", "a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, written string) {
		pinned, err := image.Pin(written, pinDigest)
		before, parseErr := image.Parse(written)
		if err != nil {
			if parseErr == nil && before.Digest == "" && len(written) < 800 {
				t.Errorf("Pin(%q): %v", written, err)
			}
			return
		}
		after, err := image.Parse(pinned)
		before.Digest = pinDigest
		if err != nil || after != before || !strings.HasPrefix(pinned, written) {
			t.Errorf("Pin(%q) = %q, read as %+v, %v", written, pinned, after, err)
		}
		if again, err := image.Pin(pinned, pinDigest); err == nil {
			t.Errorf("it was pinned twice: %q", again)
		}
	})
}
