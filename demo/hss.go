package demo

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// startHSS serves an inventory file's content as HSS would, on a port of this
// host. Its ages count from clk's now. Close it when done.
func startHSS(data []byte, clk clock.PassiveClock) (*hsstest.Server, error) {
	rows, err := inventoryfile.Parse(data, clk.Now())
	if err != nil {
		return nil, err
	}
	return hsstest.NewServer(hsstest.WithInventory(rows), hsstest.WithCredentials(hsstest.DefaultCredential())), nil
}

// pointAt has every project of a configuration ask the HSS that startHSS
// serves at url, with credentials from files in dir, as hssgate reads a mounted
// secret.
func pointAt(url string, c *config.Configuration, dir string) error {
	known := hsstest.DefaultCredential()
	credentials := config.Credentials{
		Source:        config.SourceFiles,
		AccessKeyFile: filepath.Join(dir, "access-key"),
		SecretKeyFile: filepath.Join(dir, "secret-key"),
	}
	for file, content := range map[string]string{credentials.AccessKeyFile: known.AccessKey, credentials.SecretKeyFile: known.SecretKey} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return fmt.Errorf("write the credentials: %w", err)
		}
	}
	for i := range c.Projects {
		p := &c.Projects[i]
		p.Region, p.Endpoint, p.CAFile, p.Credentials = "", url, "", credentials
	}
	return nil
}
