package check

import (
	"errors"
	"fmt"
	"os"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/inventory"
)

// SampleRegistries returns the registries and projects of hssgate's samples,
// for those who name an inventory and no configuration.
func SampleRegistries() (*config.Configuration, error) {
	const name = "config.yaml"
	data, err := samples.Files().ReadFile(name)
	if err != nil {
		return nil, err
	}
	return config.Parse(name, data)
}

// Simulate answers from an inventory file's content as if HSS had said so: it
// is served, asked and read in the same way. Ages in it count from clk's now.
// The configuration's projects are changed to ask it. Call end when done.
func Simulate(data []byte, c *config.Configuration, userAgent string, clk clock.PassiveClock) (known *inventory.Inventory, end func() error, err error) {
	server, err := StartHSS(data, clk)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "hssgate-check-")
	if err != nil {
		server.Close()
		return nil, nil, fmt.Errorf("make a folder for credentials: %w", err)
	}
	end = func() error {
		if known != nil {
			known.Close()
		}
		server.Close()
		return os.RemoveAll(dir)
	}
	if err = PointAt(server.URL, c, dir); err == nil {
		// What would keep other people's HSS from being asked too often.
		for i := range c.Projects {
			c.Projects[i].RequestsPerSecond, c.Projects[i].Burst, c.Projects[i].Sync.Enabled = simulatedRate, simulatedRate, false
		}
		known, err = NewInventory(c, userAgent, clock.RealClock{})
	}
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return known, end, nil
}

// simulatedRate is the highest that a configuration may have.
const simulatedRate = 1000
