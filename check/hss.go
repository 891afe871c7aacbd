package check

import (
	"fmt"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/inventory"
)

// SampleRegistries returns the registries and projects of hssgate's samples, the
// default where an inventory file is given and no configuration.
func SampleRegistries() (*config.Configuration, error) {
	const name = "config.yaml"
	data, err := samples.Files().ReadFile(name)
	if err != nil {
		return nil, err
	}
	return config.Parse(name, data)
}

// NewInventory returns an inventory that reads from HSS, by the projects of a
// configuration. If it is to be explained it keeps what HSS answers. Close it.
func NewInventory(c *config.Configuration, userAgent string, clk clock.Clock, explained bool) (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(c, userAgent)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	known, err := inventory.New(inventory.Options{Config: c, Clients: clients, Clock: clk, Explained: explained})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	return known, nil
}

// NewFileInventory returns an inventory that reads from a file, for the projects
// of a configuration. It turns off what needs an HSS: bulk synchronisation and
// scans on demand. Close it.
func NewFileInventory(file *inventoryfile.File, c *config.Configuration) (*inventory.Inventory, error) {
	clients := map[string]inventory.Lister{}
	for i := range c.Projects {
		p := &c.Projects[i]
		p.Sync.Enabled, p.ScanOnDemand.Enabled = false, false
		client, err := file.Client(p.ProjectID)
		if err != nil {
			return nil, err
		}
		clients[p.Name] = client
	}
	return inventory.New(inventory.Options{Config: c, Clients: clients, Explained: true})
}
