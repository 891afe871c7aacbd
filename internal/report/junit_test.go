package report_test

import (
	"encoding/xml"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/report"
)

// readJUnit returns the class and name of each case.
func readJUnit(t *testing.T, text string) (names []string) {
	t.Helper()
	var all struct {
		Cases []struct {
			Class string `xml:"classname,attr"`
			Name  string `xml:"name,attr"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for _, one := range all.Cases {
		names = append(names, one.Class+": "+one.Name)
	}
	return names
}

// TestEveryJUnitCaseHasANameOfItsOwn is for readers that take the first case of
// a name and drop the others.
func TestEveryJUnitCaseHasANameOfItsOwn(t *testing.T) {
	t.Parallel()
	r := &report.Report{Problems: []report.Problem{{Source: "b.yaml", Line: 1, Message: "x"}, {Source: "b.yaml", Line: 9, Message: "y"}, {Message: "x"}, {Message: "y"}}}
	for _, one := range []report.Result{
		{Source: "a/web.yaml", Namespace: "shop", Kind: "Deployment", Name: "web"},
		{Source: "b/web.yaml", Namespace: "shop", Kind: "Deployment", Name: "web"},
		{Source: "b/web.yaml", Namespace: "shop", Kind: "Deployment", Name: "web", Line: 9},
		{Source: "b/web.yaml", Namespace: "shop", Kind: "Deployment", Name: "web in b/web.yaml (2)", Line: 19},
		{Source: "b/web.yaml", Namespace: "test", Kind: "Deployment", Name: "web", Line: 29},
		{Namespace: "shop", Kind: "Image", Name: "nginx"},
		{Namespace: "shop", Kind: "Image", Name: "nginx"},
	} {
		one.Verdict = report.Admitted
		r.Add(one)
	}
	want := []string{
		"shop.Deployment: Deployment/web",
		"shop.Deployment: Deployment/web in b/web.yaml",
		"shop.Deployment: Deployment/web in b/web.yaml (2)",
		"shop.Deployment: Deployment/web in b/web.yaml (2) in b/web.yaml",
		"test.Deployment: Deployment/web",
		"shop.Image: Image/nginx",
		"shop.Image: Image/nginx (2)",
		"b.yaml: is read",
		"b.yaml: is read (2)",
		"input: is read",
		"input: is read (2)",
	}
	if diff := cmp.Diff(want, readJUnit(t, writtenAs(t, r, report.JUnit))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
