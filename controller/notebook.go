package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Notebook keeps short texts by name in a ConfigMap, for all replicas: who
// writes must have seen what is there. The ConfigMap must exist, so that no
// right to create one is needed.
type Notebook struct {
	// Live reads past any cache.
	Live   client.Reader
	Client client.Writer
	Name   client.ObjectKey
}

// writers is how often, and how long after each other, a write is tried anew
// that somebody else came before.
func writers() wait.Backoff {
	return wait.Backoff{Steps: 12, Duration: 10 * time.Millisecond, Factor: 1.6, Jitter: 0.5, Cap: time.Second}
}

// Change lets change edit the entries, and writes them if it reports that it
// did. If somebody else has written meanwhile it reads and calls change anew.
func (n *Notebook) Change(ctx context.Context, change func(entries map[string]string) bool) error {
	err := retry.RetryOnConflict(writers(), func() error {
		var kept corev1.ConfigMap
		if err := n.Live.Get(ctx, n.Name, &kept); err != nil {
			return err
		}
		if kept.Data == nil {
			kept.Data = map[string]string{}
		}
		if !change(kept.Data) {
			return nil
		}
		return n.Client.Update(ctx, &kept)
	})
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", n.Name, err)
	}
	return nil
}
