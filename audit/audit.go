package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How much is done at once.
const (
	// pageSize is how many objects are read at once: of pods some megabytes.
	pageSize = 250
	// namespacesAtOnce are audited side by side, so that one whose images HSS
	// must be asked for doesn't hold up the others.
	namespacesAtOnce = 4
)

// Audit judges all pods once and tells what it found, everywhere where it is
// told. If something could not be read it returns what went wrong, and the
// status of policies stays as it was; whatever could be read is told.
func (a *Auditor) Audit(ctx context.Context, why string) (*Summary, error) {
	began := a.Clock.Now()
	s, err := a.audit(ctx)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("audit: %w", context.Cause(ctx))
	}
	took := a.Clock.Since(began)
	a.Metrics.audited(why, took, err)
	if err != nil {
		a.Log.Error("the audit of running pods is not complete", "why", why, "took", took.String(), "error", err)
		return nil, err
	}
	a.Log.Info("audited the running pods", "why", why, "took", took.Round(time.Millisecond).String(), "namespaces", s.Namespaces, "pods", s.Pods,
		"violations", s.violations(), "unknown", s.unknown())
	return s, nil
}

func (a *Auditor) audit(ctx context.Context) (*Summary, error) {
	namespaces, err := a.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	reports, err := a.newReportWriter(ctx)
	if err != nil {
		return nil, err
	}
	s, seen := newSummary(), &sightings{}
	a.events.begin(a.Clock.Now())
	err = a.each(ctx, namespaces, func(namespace string) error {
		found, err := a.auditNamespace(ctx, namespace, seen)
		if err != nil {
			a.events.keep(namespace)
			reports.keep(namespace)
			return err
		}
		s.add(found)
		a.writeEvents(ctx, found)
		return reports.write(ctx, found)
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	a.resolveEvents(ctx)
	given, unwritten := a.writeHistories(ctx, seen, err == nil)
	if err := errors.Join(err, unwritten, reports.deleteRest(ctx)); err != nil {
		return nil, err
	}
	s.graces = given
	s.Time = a.Clock.Now()
	if err := a.writeStatus(ctx, s); err != nil {
		return nil, err
	}
	a.Metrics.found(s)
	return s, nil
}

// namespaces returns the names of all that are to be audited.
func (a *Auditor) namespaces(ctx context.Context) ([]string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	var names []string
	err := pages(ctx, a.Live, list, func() {
		for i := range list.Items {
			if name := list.Items[i].Name; !slices.Contains(a.ExemptNamespaces, name) {
				names = append(names, name)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return names, nil
}

// each calls f for each namespace, some of them side by side, and joins the
// errors.
func (a *Auditor) each(ctx context.Context, namespaces []string, f func(namespace string) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []error
		slots = make(chan struct{}, namespacesAtOnce)
	)
	for _, namespace := range namespaces {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(namespace); err != nil {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, fmt.Errorf("namespace %q: %w", namespace, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(all...)
}

// pages reads a list page by page into one and the same list.
func pages(ctx context.Context, from client.Reader, list client.ObjectList, page func(), options ...client.ListOption) error {
	options = append(options, client.Limit(pageSize))
	next := ""
	for {
		if err := from.List(ctx, list, append(options, client.Continue(next))...); err != nil {
			return err
		}
		page()
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}
