package report_test

import (
	"fmt"
	"testing"

	"github.com/hssgate/hssgate/internal/report"
)

// changed compares verdicts in every way.
func changed() *report.Report {
	r := &report.Report{Subject: "running pods", Policies: []string{"p"}, Changes: &report.Changes{}, Problems: []report.Problem{{Message: "bad\x1b"}}}
	at := func(name string, v report.Verdict) *report.Result {
		return &report.Result{Namespace: "shop", Kind: "Pod", Name: name, Verdict: v, Policies: []string{"p"}, Images: []report.Image{{Reference: "h.io/a:1", Known: "severity High"}}}
	}
	for i, pair := range [][2]report.Verdict{
		{report.Admitted, report.Admitted}, {report.Admitted, report.Denied}, {report.Warned, report.Denied},
		{report.Denied, report.Warned}, {report.Admitted, report.Warned}, {report.Denied, report.Unknown},
	} {
		name := fmt.Sprint("web-", i)
		r.Compare(at(name, pair[0]), *at(name, pair[1]))
	}
	r.Finish()
	return r
}

// tested is the result of cases that are as expected, and of one that is not.
func tested() *report.Report {
	r := &report.Report{Tests: &report.Tests{Cases: 2, Failed: 1}, Problems: []report.Problem{{Source: "gone.yaml", Message: "no such file"}}}
	for _, problem := range []string{"", "it is Denied & so on \x1b"} {
		r.Add(report.Result{Source: "a.yaml", Kind: "Image", Name: "h.io/a:1", Case: "same <b>", Verdict: report.Denied, Problem: problem, Images: []report.Image{{Reference: "h.io/a:1", Known: "severity High"}}})
	}
	r.Finish()
	return r
}

func TestChangesAreCounted(t *testing.T) {
	t.Parallel()
	workload := func(v report.Verdict) report.Result {
		return report.Result{Kind: "CronJob", Name: "nightly", Verdict: v}
	}
	pods := &report.Report{Changes: &report.Changes{}}
	warned, denied := workload(report.Warned), workload(report.PodsDenied)
	pods.Compare(&warned, denied)
	pods.Compare(&denied, warned)
	pods.Compare(&denied, denied)
	for want, r := range map[string]*report.Report{
		"3 objects: 1 newly denied, 1 newly admitted.": pods, "0 cases, all as expected.": {Tests: &report.Tests{}},
	} {
		if got := r.Counts(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
