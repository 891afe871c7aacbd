package check

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// DefaultNamespace is where an object goes that names no namespace.
const DefaultNamespace = "default"

// ErrNoLabels says that nothing tells a namespace's labels.
var ErrNoLabels = errors.New("no Namespace of that name is among the files, and no labels were given for it")

// Namespaces gives the labels of namespaces: those of the files first, then
// those that were given for all others, then those of a cluster.
type Namespaces struct {
	// Others are the labels of the namespaces that are not in the files; nil:
	// none were given.
	Others map[string]string
	// Live asks a cluster; nil: there is none.
	Live func(ctx context.Context, name string) (map[string]string, error)

	mu    sync.Mutex
	known map[string]map[string]string
}

// Add adds namespaces of files. If one is there twice the later counts, as for
// whoever applies them.
func (n *Namespaces) Add(namespaces []Namespace) {
	for _, one := range namespaces {
		n.remember(one.Name, one.Labels)
	}
}

// NamespaceLabels returns a namespace's labels, or an error if nothing tells
// them.
func (n *Namespaces) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	n.mu.Lock()
	labels, known := n.known[name]
	n.mu.Unlock()
	switch {
	case known:
		return labels, nil
	case n.Others != nil:
		return n.Others, nil
	case n.Live == nil:
		return nil, ErrNoLabels
	}
	labels, err := n.Live(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	n.remember(name, labels)
	return labels, nil
}

func (n *Namespaces) remember(name string, labels map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]map[string]string{}
	}
	n.known[name] = labels
}
