package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reports says which reports are written, one for each namespace with violations.
type Reports string

// The kinds of reports.
const (
	// ReportsAuto writes OpenReports if the cluster has them, else PolicyReports if
	// it has those.
	ReportsAuto Reports = "Auto"
	// ReportsOpenReports writes openreports.io/v1alpha1 Reports.
	ReportsOpenReports Reports = "OpenReports"
	// ReportsPolicyReports writes wgpolicyk8s.io/v1alpha2 PolicyReports, the
	// predecessors of OpenReports.
	ReportsPolicyReports Reports = "PolicyReports"
	// ReportsNone writes none.
	ReportsNone Reports = "None"
)

const (
	// reporter is the source of reports and Events, and the name of every report.
	reporter = "hssgate"
	// managedBy labels hssgate's reports; content is an annotation with the hash of
	// what a report says.
	managedBy = "app.kubernetes.io/managed-by"
	content   = "hssgate.io/content"
	// maxResults limits the results of a report, maxResultMessage the bytes of the
	// message of each: so a report has less than 200 kB.
	maxResults       = 100
	maxResultMessage = 1000
)

// kinds returns the kinds that may be written, the preferred one first.
func (r Reports) kinds() []schema.GroupVersionKind {
	all := []schema.GroupVersionKind{
		{Group: "openreports.io", Version: "v1alpha1", Kind: "Report"},
		{Group: "wgpolicyk8s.io", Version: "v1alpha2", Kind: "PolicyReport"},
	}
	switch r {
	case ReportsAuto:
		return all
	case ReportsOpenReports:
		return all[:1]
	case ReportsPolicyReports:
		return all[1:]
	case ReportsNone:
	}
	return nil
}

// reportWriter brings the reports up to date in the course of one audit.
type reportWriter struct {
	client client.Client
	// kind is empty if there is none to write.
	kind schema.GroupVersionKind

	mu sync.Mutex
	// rest holds the content of the reports that have not been written, by namespace.
	rest map[string]string
}

// newReportWriter finds out which kind of reports the cluster has, and reads them.
func (a *Auditor) newReportWriter(ctx context.Context) (*reportWriter, error) {
	w := &reportWriter{client: a.Client, rest: map[string]string{}}
	for _, kind := range a.Reports.kinds() {
		_, err := a.Client.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", kind.GroupKind(), err)
		}
		w.kind = kind
		return w, w.readExisting(ctx, a.Live)
	}
	return w, nil
}

func (w *reportWriter) readExisting(ctx context.Context, from client.Reader) error {
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(w.kind.GroupVersion().WithKind(w.kind.Kind + "List"))
	err := Pages(ctx, from, all, func(list *metav1.PartialObjectMetadataList) error {
		for i := range list.Items {
			if one := &list.Items[i]; one.Name == reporter {
				w.rest[one.Namespace] = one.Annotations[content]
			}
		}
		return nil
	}, client.MatchingLabels{managedBy: reporter})
	if err != nil {
		return fmt.Errorf("list reports: %w", err)
	}
	return nil
}

// write writes the report of a namespace, unless its content is the same.
func (w *reportWriter) write(ctx context.Context, f *findings) error {
	if w.kind.Empty() || len(f.groups) == 0 {
		return nil
	}
	report := newReport(w.kind, f)
	w.mu.Lock()
	before := w.rest[f.namespace]
	delete(w.rest, f.namespace)
	w.mu.Unlock()
	if before == report.GetAnnotations()[content] {
		return nil
	}
	err := w.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(report), client.FieldOwner(reporter), client.ForceOwnership)
	// Meanwhile the namespace may have been deleted.
	if client.IgnoreNotFound(err) != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return fmt.Errorf("write the report of namespace %q: %w", f.namespace, err)
	}
	return nil
}

// deleteRest deletes the reports of namespaces without violations.
func (w *reportWriter) deleteRest(ctx context.Context) error {
	var failures []error
	for namespace := range w.rest {
		report := &metav1.PartialObjectMetadata{}
		report.SetGroupVersionKind(w.kind)
		report.SetNamespace(namespace)
		report.SetName(reporter)
		if err := w.client.Delete(ctx, report); client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("delete the report of namespace %q: %w", namespace, err))
		}
	}
	return errors.Join(failures...)
}

// newReport returns the report of a namespace. The two kinds have the same fields.
// The summary counts pods, once for each policy that evaluated them; a result stands
// for the pods of one workload.
func newReport(kind schema.GroupVersionKind, f *findings) *unstructured.Unstructured {
	said := map[string]any{
		"scope":   map[string]any{"apiVersion": "v1", "kind": "Namespace", "name": f.namespace},
		"summary": f.reportSummary(),
		"results": f.reportResults(),
	}
	data, _ := json.Marshal(said) //nolint:errchkjson // maps of strings and numbers
	sum := sha256.Sum256(data)
	report := &unstructured.Unstructured{Object: said}
	report.SetGroupVersionKind(kind)
	report.SetNamespace(f.namespace)
	report.SetName(reporter)
	report.SetLabels(map[string]string{managedBy: reporter})
	report.SetAnnotations(map[string]string{content: hex.EncodeToString(sum[:16])})
	return report
}

func (f *findings) reportSummary() map[string]any {
	var all count
	for _, c := range f.counts {
		all.add(*c)
	}
	warned := 0
	for _, g := range f.groups {
		if g.effect == v1alpha1.EnforcementWarn {
			warned += g.violations
		}
	}
	return map[string]any{
		"pass": int64(all.evaluated - all.violations - all.excepted), "fail": int64(all.violations - warned),
		"warn": int64(warned), "error": int64(all.unknown), "skip": int64(all.excepted),
	}
}

func (f *findings) reportResults() []any {
	groups := f.sorted()
	// Groups that could not be evaluated come last, and are left out first.
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(min(b.violations, 1), min(a.violations, 1)) })
	results := make([]any, 0, min(len(groups), maxResults))
	for _, g := range groups[:min(len(groups), maxResults)] {
		result := "fail"
		switch {
		case g.violations == 0:
			result = "error"
		case g.effect == v1alpha1.EnforcementWarn:
			result = "warn"
		}
		results = append(results, map[string]any{
			"source": reporter, "category": "Image scan", "policy": g.policy, "result": result, "scored": true,
			"message": cut(g.message(), maxResultMessage),
			"resources": []any{map[string]any{
				"apiVersion": g.owner.APIVersion, "kind": g.owner.Kind, "namespace": f.namespace, "name": g.owner.Name, "uid": string(g.owner.UID),
			}},
			"properties": map[string]any{"pods": strconv.Itoa(g.violations + g.unknown), "enforcement": string(g.effect)},
		})
	}
	return results
}
