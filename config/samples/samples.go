// Package samples embeds the samples of the demo: an inventory of what HSS knows,
// a configuration, policies, and manifests that say which verdict they expect.
package samples

import "embed"

//go:embed config.yaml inventory.yaml policies/*.yaml exceptions/*.yaml manifests/*.yaml
var files embed.FS

// Files returns config.yaml, inventory.yaml, policies/*.yaml, exceptions/*.yaml and
// manifests/*.yaml.
func Files() embed.FS { return files }
