package check

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errNoLabels is returned for a namespace whose labels are given nowhere.
var errNoLabels = errors.New("no Namespace of that name is among the files, and no labels were given for it")

// Namespaces gives the labels of namespaces: those of files, else Others, else
// those of a cluster.
type Namespaces struct {
	// Known are labels by name, as files have them.
	Known map[string]map[string]string
	// Others are the labels of all namespaces that are not in files. Optional.
	Others map[string]string
	// Live reads the labels from a cluster. Optional.
	Live func(ctx context.Context, name string) (map[string]string, error)

	read sync.Map // what Live has read, by name
}

// NamespaceLabels returns a namespace's labels.
func (n *Namespaces) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	labels, known := n.Known[name]
	switch {
	case known:
		return labels, nil
	case n.Others != nil:
		return n.Others, nil
	case n.Live == nil:
		return nil, errNoLabels
	}
	if read, ok := n.read.Load(name); ok {
		labels, _ = read.(map[string]string)
		return labels, nil
	}
	labels, err := n.Live(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	n.read.Store(name, labels)
	return labels, nil
}
