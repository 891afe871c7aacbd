package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// The type of a file of tests.
const (
	testVersion = "test.hssgate.io/v1alpha1"
	testKind    = "PolicyTest"
)

// PolicyTest is a file of tests of policies. Paths in it are relative to it.
type PolicyTest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Policies are files or folders of ImageScanPolicies and ImageScanExceptions;
	// Preset is a policy that comes with hssgate. One of them is required.
	Policies []string `json:"policies,omitempty"`
	Preset   string   `json:"preset,omitempty"`
	// Inventory is the file of what HSS knows. Images are its rows, given here.
	Inventory string           `json:"inventory,omitempty"`
	Images    []map[string]any `json:"images,omitempty"`
	// Config is a configuration, for its registries; default: the samples'.
	Config string `json:"config,omitempty"`
	// Now is the time at which it all happens, to which ages in the inventory
	// count; default: the real one.
	Now string `json:"now,omitempty"`
	// Namespaces are their labels. If they are given, cases go only there, and
	// into those among the manifests that a case judges.
	Namespaces map[string]map[string]string `json:"namespaces,omitempty"`
	Cases      []PolicyTestCase             `json:"cases"`
}

// PolicyTestCase is something to judge and what is expected of it.
type PolicyTestCase struct {
	Name string `json:"name"`
	// One of Image, Object and File says what is judged: a reference, a
	// manifest, or the manifests of a file.
	Image  string         `json:"image,omitempty"`
	Object map[string]any `json:"object,omitempty"`
	File   string         `json:"file,omitempty"`
	// Namespace is where it goes if it names none; default: default.
	Namespace string `json:"namespace,omitempty"`
	// HSS is Unavailable if HSS can't be asked; empty: it answers.
	HSS string `json:"hss,omitempty"`
	// Later is how long after Now it is judged, such as 48h.
	Later  string      `json:"later,omitempty"`
	Expect Expectation `json:"expect"`
}

// Expectation is what is expected of every object of a case.
type Expectation struct {
	// Verdict is Admitted, Warned, Denied, or Unknown if HSS can't be asked and
	// the policies don't deny for another reason.
	Verdict report.Verdict `json:"verdict"`
	// Says are parts of what is said, and Silent parts that must not be said.
	Says   []string `json:"says,omitempty"`
	Silent []string `json:"silent,omitempty"`
}

// errTest is what is wrong with a file of tests.
var errTest = errors.New("invalid PolicyTest")

// errSeveralTests is of a file with something behind its first document.
var errSeveralTests = errors.New("the file must hold one document only: put a second PolicyTest into a file of its own")

// RunPolicyTests runs the cases of files and adds what came of each. What can't
// be read is a problem of its own, and the rest is run all the same. The error is
// that of ctx.
func RunPolicyTests(ctx context.Context, paths []string, tests *report.Tests) error {
	for _, path := range paths {
		for _, err := range runPolicyTest(ctx, path, tests) {
			tests.Problems = append(tests.Problems, report.Problem{Source: path, Message: err.Error()})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// runPolicyTest runs the cases of a file. The errors are of the file, of what it
// names, or of single cases.
func runPolicyTest(ctx context.Context, path string, tests *report.Tests) []error {
	b, err := newBench(ctx, path)
	if err != nil {
		return []error{err}
	}
	defer b.known.Close()
	var errs []error
	for i := range b.test.Cases {
		c := &b.test.Cases[i]
		result, err := b.run(ctx, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("case %q: %w", c.Name, err))
			continue
		}
		tests.Add(result)
	}
	return errs
}

// bench is what the cases of a file have in common.
type bench struct {
	path     string
	test     *PolicyTest
	now      time.Time
	policies *Policies
	known    *inventory.Inventory
	config   *config.Configuration
	// exceptions are those among the policies.
	exceptions []v1alpha1.ImageScanException
}

func newBench(ctx context.Context, path string) (*bench, error) {
	t, err := loadPolicyTest(path)
	if err != nil {
		return nil, err
	}
	b := &bench{path: path, test: t}
	if b.now, err = t.time(); err != nil {
		return nil, err
	}
	if b.policies, err = b.compile(ctx); err != nil {
		return nil, err
	}
	if b.config, err = b.configuration(); err != nil {
		return nil, err
	}
	file, err := b.inventory()
	if err != nil {
		return nil, err
	}
	b.known, err = NewFileInventory(file, b.config)
	return b, err
}

func loadPolicyTest(path string) (*PolicyTest, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	document := document{text: data, line: 1}
	data, err = document.json()
	if errors.Is(err, errSeveral) {
		err = errSeveralTests
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTest, err)
	}
	if data == nil {
		data = []byte("{}")
	}
	t := &PolicyTest{}
	if err := into(data, t); err != nil {
		return nil, fmt.Errorf("%w: %w", errTest, err)
	}
	return t, t.validate()
}

// time is that at which it all happens.
func (t *PolicyTest) time() (time.Time, error) {
	if t.Now == "" {
		return time.Now(), nil
	}
	return time.Parse(time.RFC3339, t.Now)
}

// validate says what is wrong with the file, all of it.
func (t *PolicyTest) validate() error {
	var errs []error
	note := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{errTest}, args...)...))
		}
	}
	note(t.APIVersion != testVersion || t.Kind != testKind, "it must be a %s %s, not %q, %q", testVersion, testKind, t.APIVersion, t.Kind)
	note((len(t.Policies) > 0) == (t.Preset != ""), "it must have either policies or preset")
	note(t.Inventory != "" && t.Images != nil, "inventory and images exclude each other")
	_, err := t.time()
	note(err != nil, "now must be a time such as 2026-11-23T12:00:00Z, not %q", t.Now)
	note(len(t.Cases) == 0, "it has no cases")
	for i := range t.Cases {
		c := &t.Cases[i]
		note(c.Name == "", "cases[%d] has no name", i)
		note(c.kinds() != 1, "case %q must have one of image, object and file", c.Name)
		note(c.HSS != "" && c.HSS != "Unavailable", "case %q: hss must be Unavailable or left out, not %q", c.Name, c.HSS)
		note(!slices.Contains(report.Verdicts(), c.Expect.Verdict), "case %q: expect.verdict must be Admitted, Warned, Denied or Unknown, not %q", c.Name, c.Expect.Verdict)
		_, err := c.delay()
		note(err != nil, "case %q: later must be a duration such as 48h, not %q", c.Name, c.Later)
	}
	return errors.Join(errs...)
}

func (c *PolicyTestCase) delay() (time.Duration, error) {
	if c.Later == "" {
		return 0, nil
	}
	return time.ParseDuration(c.Later)
}

// kinds counts the ways in which a case says what to judge.
func (c *PolicyTestCase) kinds() int {
	n := 0
	for _, given := range []bool{c.Image != "", c.Object != nil, c.File != ""} {
		if given {
			n++
		}
	}
	return n
}

// beside is a path that is given relative to the file.
func (b *bench) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(b.path), path)
}

func (b *bench) compile(ctx context.Context) (*Policies, error) {
	if b.test.Preset != "" {
		p, err := Preset(b.test.Preset)
		if err != nil {
			return nil, err
		}
		return Compile([]v1alpha1.ImageScanPolicy{p})
	}
	f := Files{}
	for _, path := range b.test.Policies {
		f.Paths = append(f.Paths, b.beside(path))
	}
	loaded, err := LoadPolicies(ctx, f)
	if err != nil {
		return nil, err
	}
	b.exceptions = loaded.Exceptions
	return Compile(loaded.Policies)
}

func (b *bench) configuration() (*config.Configuration, error) {
	if b.test.Config == "" {
		return SampleRegistries()
	}
	return config.Load(b.beside(b.test.Config))
}

func (b *bench) inventory() (*inventoryfile.File, error) {
	if b.test.Inventory != "" {
		return inventoryfile.Load(b.beside(b.test.Inventory), b.now)
	}
	images := b.test.Images
	if images == nil {
		images = []map[string]any{}
	}
	data, err := json.Marshal(map[string]any{"images": images})
	if err != nil {
		return nil, err
	}
	return inventoryfile.Parse(data, b.now)
}

// run judges one case.
func (b *bench) run(ctx context.Context, c *PolicyTestCase) (report.TestCase, error) {
	m, err := b.manifests(ctx, c)
	if err != nil {
		return report.TestCase{}, err
	}
	namespaces, err := b.namespaces(c, m)
	if err != nil {
		return report.TestCase{}, err
	}
	delay, err := c.delay()
	if err != nil {
		return report.TestCase{}, err
	}
	o := Options{
		Policies: b.policies, Facts: b.known, Vulnerabilities: b.known,
		Clock: at(b.now.Add(delay)), Namespace: c.Namespace, ExemptNamespaces: b.config.ExemptNamespaces,
	}
	o.Namespaces = namespaces
	exceptions := slices.Concat(b.exceptions, m.Exceptions)
	if o.Exceptions, err = CompileExceptions(exceptions, "", time.Duration(b.config.Exceptions.MaxLifetime), b.now); err != nil {
		return report.TestCase{}, err
	}
	if c.HSS != "" {
		o.Facts, o.Vulnerabilities = away{}, nil
	}
	results, err := NewChecker(o).judgeAll(ctx, m.Objects)
	result := report.TestCase{File: b.path, Name: c.Name, Expected: c.Expect.Verdict, Results: results}
	result.Problem = c.Expect.problem(results)
	return result, err
}

// namespaces are those of the file, and of the manifests that the case judges. If
// the file names any, an object in another one is an error: a misspelt name would
// be one without labels, which no policy may select.
func (b *bench) namespaces(c *PolicyTestCase, m *Manifests) (*Namespaces, error) {
	namespaces := &Namespaces{Others: map[string]string{}}
	for name, labels := range b.test.Namespaces {
		namespaces.remember(name, labels)
	}
	namespaces.Add(m.Namespaces)
	if b.test.Namespaces == nil {
		return namespaces, nil
	}
	names := []string{c.Namespace}
	for i := range m.Objects {
		names = append(names, m.Objects[i].Namespace)
	}
	for _, name := range names {
		if _, known := namespaces.known[name]; !known && name != "" && name != DefaultNamespace {
			return nil, unknownNamespace(name, slices.Sorted(maps.Keys(namespaces.known)))
		}
	}
	return namespaces, nil
}

func unknownNamespace(name string, known []string) error {
	err := fmt.Errorf("namespace %q is not among namespaces (%s)", name, strings.Join(known, ", "))
	if near := config.Nearest(name, known); near != "" {
		return fmt.Errorf("%w; did you mean %q?", err, near)
	}
	return fmt.Errorf("%w: list it there, one without labels as %s: {}", err, name)
}

// manifests are what a case judges.
func (b *bench) manifests(ctx context.Context, c *PolicyTestCase) (*Manifests, error) {
	if c.Image != "" {
		return &Manifests{Objects: []Object{ImageObject(c.Image, "")}}, nil
	}
	m := &Manifests{}
	if c.Object != nil {
		data, err := yaml.Marshal(c.Object)
		if err != nil {
			return nil, err
		}
		m.read("object", data)
	} else {
		var err error
		if m, err = (&Files{Paths: []string{b.beside(c.File)}}).Read(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case len(m.Problems) > 0:
		return nil, errors.New(m.Problems[0].String())
	case len(m.Objects) == 0:
		return nil, errors.New("there is no object in it that names images")
	}
	return m, nil
}

// problem says what of the results is not as expected.
func (e *Expectation) problem(results []report.Result) string {
	for i := range results {
		r := &results[i]
		if r.Verdict != e.Verdict {
			return fmt.Sprintf("%s is %s, expected %s: %s", r.Title(), r.Verdict, e.Verdict, strings.Join(r.Why(), "; "))
		}
		said := strings.Join(slices.Concat(r.Why(), []string{r.Message}, r.Warnings), "\n")
		for _, part := range e.Says {
			if !strings.Contains(said, part) {
				return fmt.Sprintf("%s is %s as expected, but without saying %q: %s", r.Title(), r.Verdict, part, strings.Join(r.Why(), "; "))
			}
		}
		for _, part := range e.Silent {
			if strings.Contains(said, part) {
				return fmt.Sprintf("%s is %s as expected, but says %q", r.Title(), r.Verdict, part)
			}
		}
	}
	return ""
}

// at is a clock that stands still.
type at time.Time

var _ clock.PassiveClock = at{}

// Now returns the time at which it stands.
func (a at) Now() time.Time { return time.Time(a) }

// Since returns how long ago t was then.
func (a at) Since(t time.Time) time.Duration { return time.Time(a).Sub(t) }

// away is an HSS that can't be asked.
type away struct{}

// Known knows nothing.
func (away) Known(image.Reference) (policy.Facts, bool) { return policy.Facts{}, false }

// Facts returns that HSS can't be asked.
func (away) Facts(context.Context, image.Reference) policy.Facts {
	return policy.Facts{State: policy.StateUnavailable, Reason: "HSS cannot be asked, says the test"}
}
