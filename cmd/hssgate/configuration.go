package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/check"
)

// The defaults of --config, of the commands that people run.
const (
	configVariable = "HSSGATE_CONFIG"
	configName     = "hssgate.yaml"
	configDefaults = "default: $" + configVariable + ", or " + configName + " in the current folder"
	configRequired = "--config is required (or $" + configVariable + ", or a file " + configName + " in the current folder)"
)

// configFlags name the configuration file.
type configFlags struct {
	configFile string
	// origin is where a default comes from, for errors; empty for the flag's value.
	origin string
}

// find sets the configuration file to its default. An empty value of the flag is none.
func (f *configFlags) find(cmd *cobra.Command) {
	if cmd.Flags().Changed("config") {
		return
	}
	if path := os.Getenv(configVariable); path != "" {
		f.configFile, f.origin = path, "$"+configVariable
	} else if _, err := os.Stat(configName); err == nil {
		f.configFile, f.origin = configName, "the default of --config"
	}
}

// load reads the configuration file, or that of the samples if there is none. The file
// that nothing names is printed, since it may be there by chance.
func (f *configFlags) load(cmd *cobra.Command) (*config.Configuration, error) {
	if f.origin != "" && f.configFile == configName {
		fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: the configuration is %s of the current folder\n", configName)
	}
	c, err := check.LoadConfig(f.configFile)
	if err != nil && f.origin != "" {
		err = fmt.Errorf("%s: %w", f.origin, err)
	}
	if err != nil {
		return nil, usageError(err)
	}
	return c, nil
}
