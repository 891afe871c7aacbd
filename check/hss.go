package check

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/inventory"
)

// StartHSS serves an inventory file's content as HSS would, on a port of this
// host. Its ages count from clk's now. Close it when done.
func StartHSS(data []byte, clk clock.PassiveClock) (*hsstest.Server, error) {
	rows, err := hsstest.ParseInventory(data, clk.Now())
	if err != nil {
		return nil, err
	}
	return hsstest.NewServer(hsstest.WithInventory(rows), hsstest.WithCredentials(hsstest.DefaultCredential())), nil
}

// PointAt has every project of a configuration ask the HSS that StartHSS
// serves at url, with credentials from files in dir, as hssgate reads a mounted
// secret.
func PointAt(url string, c *config.Configuration, dir string) error {
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

// NewInventory asks the projects of a configuration with real clients.
func NewInventory(c *config.Configuration, userAgent string, clk clock.Clock) (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(c, userAgent)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	known, err := inventory.New(inventory.Options{Config: c, Clients: clients, Clock: clk})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	return known, nil
}
