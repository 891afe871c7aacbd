package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reportWriter brings the reports up to date in the course of one audit.
type reportWriter struct {
	client client.Client
	// kind is empty if there is none to write.
	kind schema.GroupVersionKind

	mu sync.Mutex
	// rest holds what the reports say of which it isn't known yet whether they
	// are to stay, by namespace.
	rest map[string]string
}

// newReportWriter finds out which reports there can be, and which there are.
func (a *Auditor) newReportWriter(ctx context.Context) (*reportWriter, error) {
	w := &reportWriter{client: a.Client, rest: map[string]string{}}
	for _, kind := range a.Reports.kinds() {
		_, err := a.Client.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask whether there are %s: %w", kind.GroupKind(), err)
		}
		w.kind = kind
		return w, w.readExisting(ctx, a.Live)
	}
	return w, nil
}

func (w *reportWriter) readExisting(ctx context.Context, from client.Reader) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(w.kind.GroupVersion().WithKind(w.kind.Kind + "List"))
	err := pages(ctx, from, list, func() {
		for i := range list.Items {
			if one := &list.Items[i]; one.Name == reportName {
				w.rest[one.Namespace] = one.Annotations[content]
			}
		}
	}, client.MatchingLabels{managedBy: reporter})
	if err != nil {
		return fmt.Errorf("list reports: %w", err)
	}
	return nil
}

// keep leaves the report of a namespace as it is.
func (w *reportWriter) keep(namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.rest, namespace)
}

// write writes the report of a namespace, unless it says the same already.
func (w *reportWriter) write(ctx context.Context, f *findings) error {
	if w.kind.Empty() {
		return nil
	}
	report := newReport(w.kind, f)
	if report == nil {
		return nil
	}
	w.mu.Lock()
	before := w.rest[f.namespace]
	delete(w.rest, f.namespace)
	w.mu.Unlock()
	if before == report.GetAnnotations()[content] {
		return nil
	}
	err := w.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(report), client.FieldOwner(reporter), client.ForceOwnership)
	// Meanwhile the namespace may have gone, or be going.
	if client.IgnoreNotFound(err) != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// deleteRest deletes the reports of namespaces in which nothing is wrong.
func (w *reportWriter) deleteRest(ctx context.Context) error {
	var failures []error
	for namespace := range w.rest {
		report := &metav1.PartialObjectMetadata{}
		report.SetGroupVersionKind(w.kind)
		report.SetNamespace(namespace)
		report.SetName(reportName)
		if err := w.client.Delete(ctx, report); client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("delete the report of namespace %q: %w", namespace, err))
		}
	}
	return errors.Join(failures...)
}
