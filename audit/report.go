package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reports says which reports are written, one for each namespace in which
// something is wrong.
type Reports string

// The kinds of reports.
const (
	// ReportsAuto writes OpenReports if the cluster has them, else
	// PolicyReports if it has those.
	ReportsAuto Reports = "Auto"
	// ReportsOpenReports writes openreports.io/v1alpha1 Reports.
	ReportsOpenReports Reports = "OpenReports"
	// ReportsPolicyReports writes wgpolicyk8s.io/v1alpha2 PolicyReports, which
	// came before OpenReports.
	ReportsPolicyReports Reports = "PolicyReports"
	// ReportsNone writes none.
	ReportsNone Reports = "None"
)

const (
	// reportName is the name of every report.
	reportName = "hssgate"
	// managedBy labels our reports, content tells what a report says.
	managedBy = "app.kubernetes.io/managed-by"
	content   = "hssgate.io/content"
	// maxResults bounds the results of a report, maxResultMessage the message
	// of each, in bytes: so a report has less than 200 kB.
	maxResults       = 100
	maxResultMessage = 1000
)

// kinds are the kinds that may be written, the preferred one first.
func (r Reports) kinds() []schema.GroupVersionKind {
	open := schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "Report"}
	older := schema.GroupVersionKind{Group: "wgpolicyk8s.io", Version: "v1alpha2", Kind: "PolicyReport"}
	switch r {
	case ReportsAuto:
		return []schema.GroupVersionKind{open, older}
	case ReportsOpenReports:
		return []schema.GroupVersionKind{open}
	case ReportsPolicyReports:
		return []schema.GroupVersionKind{older}
	case ReportsNone:
	}
	return nil
}

// newReport returns the report of a namespace, or nil if nothing is wrong. The
// two kinds have the same fields. The summary counts pods, once for each policy
// that judged them; a result stands for the pods of one workload.
func newReport(kind schema.GroupVersionKind, f *findings) *unstructured.Unstructured {
	if len(f.groups) == 0 {
		return nil
	}
	report := &unstructured.Unstructured{Object: map[string]any{
		"scope":   map[string]any{"apiVersion": "v1", "kind": "Namespace", "name": f.namespace},
		"summary": f.reportSummary(),
		"results": f.reportResults(),
	}}
	report.SetAnnotations(map[string]string{content: hashOf(report)})
	report.SetGroupVersionKind(kind)
	report.SetNamespace(f.namespace)
	report.SetName(reportName)
	report.SetLabels(map[string]string{managedBy: reporter})
	return report
}

// hashOf is the hash of what the report says.
func hashOf(report *unstructured.Unstructured) string {
	// Maps of strings and numbers have no value that JSON lacks.
	data, _ := json.Marshal(report.Object) //nolint:errchkjson // see above
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

func (f *findings) reportSummary() map[string]any {
	var all count
	for _, c := range f.counts {
		all.add(c)
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
	// What could not be judged comes last, and is left out first.
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(min(b.violations, 1), min(a.violations, 1)) })
	results := make([]any, 0, min(len(groups), maxResults))
	for _, g := range groups[:min(len(groups), maxResults)] {
		results = append(results, g.reportResult(f.namespace))
	}
	return results
}

func (g *group) reportResult(namespace string) map[string]any {
	result := "fail"
	switch {
	case g.violations == 0:
		result = "error"
	case g.effect == v1alpha1.EnforcementWarn:
		result = "warn"
	}
	return map[string]any{
		"source": reporter, "category": "Image scan", "policy": g.policy, "result": result, "scored": true,
		"message": cut(g.message(), maxResultMessage),
		"resources": []any{map[string]any{
			"apiVersion": g.owner.apiVersion, "kind": g.owner.kind, "namespace": namespace, "name": g.owner.name, "uid": string(g.owner.uid),
		}},
		"properties": map[string]any{"pods": strconv.Itoa(g.violations + g.unknown), "enforcement": string(g.effect)},
	}
}
