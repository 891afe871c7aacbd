package check

import (
	"context"
	"errors"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// errNoLabels is returned for a namespace whose labels are given nowhere.
var errNoLabels = errors.New("no Namespace of that name is among the files, and no labels were given for it")

// Namespaces gives the labels of namespaces: those of files, else Others, else
// those of a cluster.
type Namespaces struct {
	// Others are the labels of all namespaces that are not in files. Optional.
	Others map[string]string
	// Live reads the labels from a cluster. Optional.
	Live func(ctx context.Context, name string) (map[string]string, error)

	mu    sync.Mutex
	known map[string]map[string]string
}

// Add adds namespaces of files. The last one of a name counts, as for kubectl
// apply.
func (n *Namespaces) Add(namespaces []metav1.ObjectMeta) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]map[string]string{}
	}
	for i := range namespaces {
		n.known[namespaces[i].Name] = namespaces[i].Labels
	}
}

// NamespaceLabels returns a namespace's labels.
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
		return nil, errNoLabels
	}
	labels, err := n.Live(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	n.Add([]metav1.ObjectMeta{{Name: name, Labels: labels}})
	return labels, nil
}
