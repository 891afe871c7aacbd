package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	reporter  = "hssgate"                      // the source of reports and Events, and the name of every report
	managedBy = "app.kubernetes.io/managed-by" // labels hssgate's reports
	// maxResults limits the results of a report, maxResultMessage the bytes of the
	// message of each, maxProperty those of its images: so a report has less than 200 kB.
	maxResults       = 100
	maxResultMessage = 800
	maxProperty      = 300
)

// reportKind returns the kind of reports to write, by audit.reports of the configuration and the cluster; empty: none.
func (a *Auditor) reportKind() (schema.GroupVersionKind, error) {
	for _, one := range []struct { // the preferred one first
		name string
		kind schema.GroupVersionKind
	}{
		{"OpenReports", schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "Report"}},
		{"PolicyReports", schema.GroupVersionKind{Group: "wgpolicyk8s.io", Version: "v1alpha2", Kind: "PolicyReport"}},
	} {
		if a.Reports != "Auto" && a.Reports != one.name {
			continue
		}
		_, err := a.Client.RESTMapper().RESTMapping(one.kind.GroupKind(), one.kind.Version)
		switch {
		case err == nil:
			return one.kind, nil
		case !meta.IsNoMatchError(err):
			return one.kind, fmt.Errorf("look for %s: %w", one.kind.GroupKind(), err)
		}
	}
	return schema.GroupVersionKind{}, nil
}

func (a *Auditor) writeReport(ctx context.Context, kind schema.GroupVersionKind, f *findings) error {
	if kind.Empty() || len(f.groups) == 0 {
		return nil
	}
	report := client.ApplyConfigurationFromUnstructured(newReport(kind, f))
	err := a.Client.Apply(ctx, report, client.FieldOwner(reporter), client.ForceOwnership)
	// Meanwhile the namespace may have been deleted.
	if client.IgnoreNotFound(err) != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return fmt.Errorf("write the report of namespace %q: %w", f.namespace, err)
	}
	return nil
}

func (a *Auditor) deleteReports(ctx context.Context, kind schema.GroupVersionKind, but sets.Set[string]) error {
	if kind.Empty() {
		return nil
	}
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err := Pages(ctx, a.Live, all, func(list *metav1.PartialObjectMetadataList) error {
		var failures []error
		for i := range list.Items {
			report := &list.Items[i]
			report.SetGroupVersionKind(kind)
			if report.Name == reporter && !but.Has(report.Namespace) {
				failures = append(failures, client.IgnoreNotFound(a.Client.Delete(ctx, report)))
			}
		}
		return errors.Join(failures...)
	}, client.MatchingLabels{managedBy: reporter})
	if err != nil {
		return fmt.Errorf("delete the reports of namespaces without violations: %w", err)
	}
	return nil
}

// newReport returns the report of a namespace. The two kinds have the same fields.
// A result stands for the pods of one workload that violate a policy. The summary
// counts workloads, once for each policy, also those without a result, which pass.
func newReport(kind schema.GroupVersionKind, f *findings) *unstructured.Unstructured {
	var counts [failed + 1]int64
	for _, other := range f.others {
		counts[other]++
	}
	for _, g := range f.groups {
		counts[g.result()]++
	}
	summary := map[string]any{}
	for i, n := range counts {
		summary[result(i).String()] = n
	}
	report := &unstructured.Unstructured{Object: map[string]any{
		"scope":   map[string]any{"apiVersion": "v1", "kind": "Namespace", "name": f.namespace},
		"summary": summary,
		"results": f.reportResults(),
	}}
	report.SetGroupVersionKind(kind)
	report.SetNamespace(f.namespace)
	report.SetName(reporter)
	report.SetLabels(map[string]string{managedBy: reporter})
	return report
}

func (g *group) result() result {
	switch {
	case g.violations == 0:
		return unknown
	case g.effect == v1alpha1.EnforcementWarn:
		return warned
	}
	return failed
}

func (f *findings) reportResults() []any {
	groups := sorted(f.groups)
	// Groups that could not be evaluated come last, and are left out first.
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(min(b.violations, 1), min(a.violations, 1)) })
	results := make([]any, 0, min(len(groups), maxResults))
	for _, g := range groups[:min(len(groups), maxResults)] {
		results = append(results, map[string]any{
			"source": reporter, "category": "Image scan", "policy": g.policy, "rule": string(g.rule), "severity": g.risk.String(),
			"result": g.result().String(), "scored": true, "message": cut(g.advice(), maxResultMessage),
			"timestamp": map[string]any{"seconds": g.since.Unix(), "nanos": int64(0)},
			"resources": []any{map[string]any{
				"apiVersion": g.owner.APIVersion, "kind": g.owner.Kind, "namespace": f.namespace, "name": g.owner.Name, "uid": string(g.owner.UID),
			}},
			"properties": g.properties(),
		})
	}
	return results
}

func (g *group) properties() map[string]any {
	properties := map[string]any{"pods": fmt.Sprint(g.violations + g.unknown), "enforcement": string(g.effect)}
	for name, all := range map[string][]string{
		"image":  g.all(func(l line) string { return l.image }),
		"digest": g.all(func(l line) string { return l.digest }),
	} {
		if len(all) > 0 {
			properties[name] = cut(strings.Join(all, ", "), maxProperty)
		}
	}
	return properties
}
