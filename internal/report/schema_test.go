package report_test

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/report"
)

// The parts of XML Schema that junit-4.xsd uses: global elements that are a
// text, or a sequence of others with attributes.
type (
	xsd struct {
		Elements []xsdElement `xml:"element"`
	}
	xsdElement struct {
		Name     string   `xml:"name,attr"`
		Type     string   `xml:"type,attr"`
		Ref      string   `xml:"ref,attr"`
		Min      string   `xml:"minOccurs,attr"`
		Max      string   `xml:"maxOccurs,attr"`
		Contents *xsdType `xml:"complexType"`
	}
	xsdType struct {
		Mixed      bool           `xml:"mixed,attr"`
		Sequence   []xsdElement   `xml:"sequence>element"`
		Attributes []xsdAttribute `xml:"attribute"`
	}
	xsdAttribute struct {
		Name string `xml:"name,attr"`
		Use  string `xml:"use,attr"`
	}
	// node is any element of a document.
	node struct {
		XMLName    xml.Name
		Attributes []xml.Attr `xml:",any,attr"`
		Children   []node     `xml:",any"`
		Text       string     `xml:",chardata"`
	}
)

func loadXSD(t *testing.T) map[string]xsdElement {
	t.Helper()
	data, err := os.ReadFile("testdata/junit-4.xsd")
	if err != nil {
		t.Fatal(err)
	}
	var schema xsd
	if err := xml.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	elements := map[string]xsdElement{}
	for _, e := range schema.Elements {
		elements[e.Name] = e
	}
	if len(elements) != 10 {
		t.Fatalf("the schema has %d elements, want 10", len(elements))
	}
	return elements
}

// validate returns what is wrong with a node by the schema: an element that is
// unknown, its attributes, its children and their order, or a text.
func validate(schema map[string]xsdElement, n *node) error {
	e, known := schema[n.XMLName.Local]
	if !known {
		return fmt.Errorf("there is no element %s", n.XMLName.Local)
	}
	contents := e.Contents
	if contents == nil {
		contents = &xsdType{Mixed: true} // xs:string
	}
	var errs []error
	allowed, children := "", ""
	for _, a := range contents.Attributes {
		allowed += a.Name + " "
		if a.Use == "required" && n.attribute(a.Name) == "" {
			errs = append(errs, fmt.Errorf("%s has no %s", n.XMLName.Local, a.Name))
		}
	}
	for _, a := range n.Attributes {
		if !strings.Contains(" "+allowed, " "+a.Name.Local+" ") {
			errs = append(errs, fmt.Errorf("%s has the attribute %s", n.XMLName.Local, a.Name.Local))
		}
	}
	for i := range n.Children {
		children += n.Children[i].XMLName.Local + " "
		errs = append(errs, validate(schema, &n.Children[i]))
	}
	sequence := ""
	for _, c := range contents.Sequence {
		sequence += fmt.Sprintf("(%s ){%s,%s}", c.Ref, cmp.Or(c.Min, "1"), strings.TrimPrefix(cmp.Or(c.Max, "1"), "unbounded"))
	}
	if !regexp.MustCompile("^" + sequence + "$").MatchString(children) {
		errs = append(errs, fmt.Errorf("%s holds %s, want %s", n.XMLName.Local, children, sequence))
	}
	if !contents.Mixed && strings.TrimSpace(n.Text) != "" {
		errs = append(errs, fmt.Errorf("%s holds the text %q", n.XMLName.Local, n.Text))
	}
	return errors.Join(errs...)
}

func parseXML(t *testing.T, text string) *node {
	t.Helper()
	var n node
	decoder := xml.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&n); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if _, err := decoder.Token(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return &n
}

func TestJUnitIsValid(t *testing.T) {
	t.Parallel()
	schema := loadXSD(t)
	for name, r := range map[string]*report.Report{"nothing": {}, "everything": everything()} {
		text := writtenAs(t, r, report.JUnit)
		if err := validate(schema, parseXML(t, text)); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
		}
	}
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
	if diff := gocmp.Diff(want, junitNames(t, writtenAs(t, r, report.JUnit))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	tests := &report.Tests{
		Cases:    []report.TestCase{{File: "a.yaml", Name: "same"}, {File: "a.yaml", Name: "same", Problem: "it is not"}},
		Problems: []report.Problem{{Source: "b.yaml", Message: "x"}, {Source: "b.yaml", Message: "y"}},
	}
	if diff := gocmp.Diff([]string{"a.yaml: same", "a.yaml: same (2)", "b.yaml: is read", "b.yaml: is read (2)"}, junitNames(t, writtenAs(t, tests, report.JUnit))); diff != "" {
		t.Errorf("of a policy test (-want +got):\n%s", diff)
	}
}

// junitNames returns the class and name of each case.
func junitNames(t *testing.T, text string) []string {
	t.Helper()
	var names []string
	for _, suite := range parseXML(t, text).Children {
		for _, c := range suite.Children {
			names = append(names, c.attribute("classname")+": "+c.attribute("name"))
		}
	}
	return names
}

func (n *node) attribute(name string) string {
	for _, a := range n.Attributes {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// TestTheSchemaOfJUnitIsStrict shows that the validator finds what is wrong.
func TestTheSchemaOfJUnitIsStrict(t *testing.T) {
	t.Parallel()
	schema := loadXSD(t)
	for name, text := range map[string]string{
		"an unknown element":   `<testsuites><suite/></testsuites>`,
		"a missing attribute":  `<testsuites><testsuite name="a"/></testsuites>`,
		"an unknown attribute": `<testsuites kind="a"/>`,
		"elements out of turn": `<testsuites><testsuite name="a" tests="1"><testcase name="b"><failure/><error/></testcase></testsuite></testsuites>`,
		"one too many":         `<testsuites><testsuite name="a" tests="0"><system-out/><system-out/></testsuite></testsuites>`,
		"a text":               `<testsuites>text</testsuites>`,
	} {
		if err := validate(schema, parseXML(t, text)); err == nil {
			t.Errorf("%s was found valid", name)
		}
	}
}
