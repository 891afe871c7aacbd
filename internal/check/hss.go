package check

import (
	"fmt"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/inventory"
)

// LoadConfig reads a configuration. Without a path it is that of hssgate's samples, the default for an inventory file.
func LoadConfig(path string) (*config.Configuration, error) {
	if path != "" {
		return config.Load(path)
	}
	const name = "config.yaml"
	data, err := samples.Files().ReadFile(name)
	if err != nil {
		return nil, err
	}
	return config.Parse(name, data)
}

// NewInventory returns an inventory that reads from HSS. Explained keeps HSS's answers for explanations.
func NewInventory(c *config.Configuration, userAgent string, explained bool) (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(c, userAgent)
	if err != nil {
		return nil, fmt.Errorf("prepare the client of HSS: %w", err)
	}
	return inventory.New(inventory.Options{Config: c, Clients: clients, Explained: explained})
}

// NewFileInventory returns an inventory that reads from a file, for the projects of a configuration.
func NewFileInventory(file *inventoryfile.File, c *config.Configuration) (*inventory.Inventory, error) {
	clients := map[string]inventory.Lister{}
	for i := range c.Projects {
		p := &c.Projects[i]
		p.SyncInterval, p.ScanOnDemand.Enabled = 0, false // a file offers neither
		client, err := file.Client(p.ProjectID)
		if err != nil {
			return nil, err
		}
		clients[p.Name] = client
	}
	return inventory.New(inventory.Options{Config: c, Clients: clients, Explained: true})
}
