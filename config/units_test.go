package config_test

import (
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
)

func TestDurationsAreSpelledShortAndReadBack(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 0, "500ms": 500 * time.Millisecond, "1s": time.Second, "30s": 30 * time.Second, "5m": 5 * time.Minute,
		"1m30s": 90 * time.Second, "1h": time.Hour, "10h": 10 * time.Hour, "1h30m": 90 * time.Minute, "1h0m5s": time.Hour + 5*time.Second,
		"20m": 20 * time.Minute, "-1m": -time.Minute,
	} {
		if got := config.Duration(d).String(); got != want {
			t.Errorf("%s is spelled %s", want, got)
		}
		var back config.Duration
		if back.UnmarshalText([]byte(want)) != nil || back != config.Duration(d) {
			t.Errorf("%s is read back as %s", want, back)
		}
	}
}

func TestSizesAreSpelledShortAndReadBack(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]config.Bytes{
		"0": 0, "1": 1, "1023": 1023, "1Ki": 1024, "1025": 1025, "16Mi": 16 << 20, "1536Ki": 3 << 19, "2Gi": 2 << 30, "1Ti": 1 << 40,
	} {
		if got := b.String(); got != want {
			t.Errorf("%s is spelled %s", want, got)
		}
		var back config.Bytes
		if back.UnmarshalText([]byte(want)) != nil || back != b {
			t.Errorf("%s is read back as %s", want, back)
		}
	}
}

func TestWhatIsNoSize(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "-1", "1 Mi", "1MB", "0x10", "0.5", "9223372036854775808", "9007199254740992Ki", "8589934592Gi",
	} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %s", text, b)
		}
	}
}
