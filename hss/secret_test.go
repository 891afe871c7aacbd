package hss_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
