package hss_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss"
)

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2-very-secret"
	secret := hss.NewSecret(hidden)
	credentials := hss.Credentials{AccessKey: "AK", SecretKey: secret, SecurityToken: secret, Token: secret}
	type private struct{ inner hss.Credentials }
	for name, value := range map[string]any{
		"the secret":          secret,
		"a pointer to it":     &secret,
		"credentials":         credentials,
		"an unexported field": private{credentials},
		"a slice":             []hss.Secret{secret},
		"a map":               map[string]hss.Secret{"a": secret},
		"a static source":     hss.StaticCredentials(credentials),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%5.3s", "%p"} {
			text := fmt.Sprintf(verb, value)
			if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
				t.Errorf("%s with %s shows the secret: %s", name, verb, text)
			}
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "value", value)
		if strings.Contains(string(encoded)+log.String(), hidden) {
			t.Errorf("%s is shown by JSON or slog: %s %s", name, encoded, log.String())
		}
	}
}

// A source that was used holds on to what it read.
func TestSourcesAndClientsPrintNoSecret(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2-very-secret"
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "secret"), hidden)
	profile := write(t, filepath.Join(dir, "profile"), "[basic]\nak=AK\nsk="+hidden)
	files := hss.FileCredentials(file, file, file)
	client, err := hss.NewClient(hss.Config{Endpoint: "https://hss.example.com", ProjectID: "p", Credentials: files})
	if err != nil {
		t.Fatal(err)
	}
	temporary := hss.CachedCredentials(sourceFunc(func(context.Context) (hss.Credentials, error) {
		return hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret(hidden), Expires: time.Now().Add(time.Hour)}, nil
	}), hss.CacheOptions{})
	for name, source := range map[string]hss.CredentialSource{
		"files": files, "a token": hss.TokenFile(file), "a profile": hss.ProfileCredentials(profile, nil),
		"a chain": hss.ChainCredentials(files), "a cache": temporary,
	} {
		for range 2 { // the second time, a cache is at rest
			if _, err := source.Credentials(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for _, value := range []any{source, client, &hss.SigningTransport{Source: source}} {
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "value", value)
			text := fmt.Sprintf("%v %+v %#v %s %q %x", value, value, value, value, value, value) + log.String()
			if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
				t.Errorf("%s: %T shows the secret: %s", name, value, text)
			}
		}
	}
}

func TestSecretTellsOnlyWhetherItIsThere(t *testing.T) {
	t.Parallel()
	empty, full := hss.NewSecret(""), hss.NewSecret("x")
	if !empty.Empty() || full.Empty() || empty.Reveal() != "" || full.Reveal() != "x" {
		t.Error("Empty or Reveal is wrong")
	}
	if empty.String() != "" || full.String() != "[redacted]" || fmt.Sprintf("%#v", full) != "[redacted]" || full.GoString() != "[redacted]" {
		t.Error("String is wrong")
	}
	if !full.Equal(hss.NewSecret("x")) || full.Equal(empty) || full.Equal(hss.NewSecret("y")) {
		t.Error("Equal is wrong")
	}
}
