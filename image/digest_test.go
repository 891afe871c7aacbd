package image_test

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/image"
)

func TestIsDigest(t *testing.T) {
	t.Parallel()
	whole := "sha256:" + strings.Repeat("0a", 32)
	tests := map[string]struct {
		s    string
		want bool
	}{
		"a whole sha256 digest":       {whole, true},
		"nothing":                     {"", false},
		"digits without an algorithm": {strings.Repeat("0a", 32), false},
		"one digit short":             {whole[:len(whole)-1], false},
		"one digit long":              {whole + "0", false},
		"upper case":                  {strings.ToUpper(whole[7:]), false},
		"an upper-case digit":         {whole[:len(whole)-1] + "A", false},
		"another letter inside":       {whole[:20] + "g" + whole[21:], false},
		"another algorithm":           {"sha512:" + strings.Repeat("0a", 64), false},
		"space around it":             {" " + whole, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := image.IsDigest(tt.s); got != tt.want {
				t.Errorf("IsDigest(%q) = %t, want %t", tt.s, got, tt.want)
			}
		})
	}
}
