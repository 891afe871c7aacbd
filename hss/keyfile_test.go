package hss_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss"
)

func TestKeyFilesThatOthersCanWriteAreRefused(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[os.FileMode]bool{
		0o400: false, 0o440: false, 0o444: false, 0o600: false, 0o640: false, 0o644: false,
		0o620: true, 0o660: true, 0o664: true, 0o666: true, 0o602: true, 0o777: true,
	} {
		folder := t.TempDir()
		// As in a mounted Secret, the file is a symbolic link.
		file := write(t, filepath.Join(folder, "data"), "[basic]\nak=AK\nsk=SK\n")
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(folder, "link")
		if err := os.Symlink("data", link); err != nil {
			t.Fatal(err)
		}
		for name, source := range map[string]hss.CredentialSource{
			"files": hss.FileCredentials(link, link, ""), "a token": hss.TokenFile(link), "a profile": hss.ProfileCredentials(link, nil),
		} {
			_, err := source.Credentials(t.Context())
			said := err != nil && strings.Contains(err.Error(), fmt.Sprintf("%s has mode %04o, by which others can write it", link, mode)) &&
				strings.Contains(err.Error(), "chmod go-w "+link)
			if said != refused {
				t.Errorf("%s of mode %04o: error is %v, want one: %v", name, mode, err, refused)
			}
		}
		if readable, err := hss.CheckKeyFile(link); readable != (mode&0o004 != 0) || (err != nil) != refused {
			t.Errorf("mode %04o is readable by all: %v, error %v", mode, readable, err)
		}
	}
}
