// Package presets holds the policies that hssgate's chart offers, for those who
// try them before they install anything.
package presets

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names are those of the presets, the mildest first.
func Names() []string { return []string{"audit", "baseline", "strict"} }

// Policy returns the manifest of a preset's ImageScanPolicy, in YAML.
func Policy(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("preset must be %s, not %q", strings.Join(Names(), ", "), name)
	}
	return files.ReadFile(name + ".yaml")
}
