// Package charts holds hssgate's CustomResourceDefinitions as the chart
// installs them, so that the binary can install them too.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed hssgate/files/crds/*.yaml
var files embed.FS

// CustomResourceDefinitions returns the manifests of all
// CustomResourceDefinitions, one YAML document each, ordered by name.
func CustomResourceDefinitions() ([][]byte, error) {
	names, err := fs.Glob(files, "hssgate/files/crds/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the CustomResourceDefinitions: %w", err)
	}
	manifests := make([][]byte, len(names))
	for i, name := range names {
		if manifests[i], err = files.ReadFile(name); err != nil {
			return nil, fmt.Errorf("read a CustomResourceDefinition: %w", err)
		}
	}
	return manifests, nil
}
