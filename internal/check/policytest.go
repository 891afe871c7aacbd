package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	goyaml "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// policyTest is a file of tests of policies. Paths in it are relative to it.
type policyTest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Policies are files or folders of policies and exceptions, Preset is one that comes with hssgate. One is required.
	Policies []string `json:"policies"`
	Preset   string   `json:"preset"`
	// Inventory is an inventory file. Images are its rows, given here.
	Inventory string `json:"inventory"`
	Images    []any  `json:"images"`
	// Config is a configuration, for its registries; default: the samples'.
	Config string `json:"config"`
	// Now is the time of the test; default: the real one.
	Now time.Time `json:"now"`
	// Namespaces are labels by namespace. If any are given, objects of other namespaces are an error.
	Namespaces map[string]map[string]string `json:"namespaces"`
	// Exceptions are beside those among the policies. Their apiVersion may be left out, and the kind of ImageScanExceptions.
	Exceptions []map[string]any `json:"exceptions"`
	Cases      []policyTestCase `json:"cases"`

	path    string
	known   *inventory.Inventory
	options Options // of all cases
}

const policyTestKind = "PolicyTest"

type policyTestCase struct {
	Name string `json:"name"`
	// One of Image, Object and File is required: a reference, a manifest, or a file of manifests.
	Image  string `json:"image"`
	Object any    `json:"object"`
	File   string `json:"file"`
	// Namespace is that of objects that name none; default: default.
	Namespace string `json:"namespace"`
	// HSS is Unavailable or empty.
	HSS string `json:"hss"`
	// Later is how long after Now the case takes place, such as 48h.
	Later  metav1.Duration `json:"later"`
	Expect expectation     `json:"expect"`
}

// expectation is what every object of a case must result in.
type expectation struct {
	Verdict report.Verdict `json:"verdict"`
	// Says are parts of the messages, Silent parts that must not be in them.
	Says   []string `json:"says"`
	Silent []string `json:"silent"`
}

// PolicyTests names the tests to run.
type PolicyTests struct {
	// Paths are files, and folders whose PolicyTests are run, with their subfolders.
	Paths []string
	// Run selects cases by their names. Optional.
	Run *regexp.Regexp
	// Update receives the expected verdicts that are changed in the files. Optional: by default none is changed.
	Update func(change report.Problem)
}

// RunTo runs the cases of files and adds the results of their objects to a report of tests. A file that cannot be read
// is a problem, and the rest is run. It fails only if ctx ends.
func (p *PolicyTests) RunTo(ctx context.Context, r *report.Report) error {
	for _, path := range p.Paths {
		files, err := testsIn(path)
		if err != nil {
			r.Problems = append(r.Problems, report.Problem{Source: path, Message: err.Error()})
		}
		for _, file := range files {
			if err := p.runFile(ctx, file, r); err != nil {
				r.Problems = append(r.Problems, report.Problem{Source: file, Message: err.Error()})
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	if r.Tests.Cases+len(r.Problems) == 0 {
		r.Problems = append(r.Problems, report.Problem{Message: fmt.Sprintf("no case has a name that matches %q", p.Run)})
	}
	r.Finish()
	return nil
}

// testsIn returns the path, or the files of PolicyTests in a folder.
func testsIn(path string) (files []string, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return []string{path}, nil
	}
	isTest := regexp.MustCompile(`\bkind["']?\s*:\s*["']?` + policyTestKind + `\b`)
	folder := os.DirFS(path)
	err = fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !IsManifest(name) {
			return err
		}
		data, err := fs.ReadFile(folder, name)
		if isTest.Match(data) {
			files = append(files, filepath.Join(path, name))
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there is no %s in it", policyTestKind)
	}
	return files, err
}

func (p *PolicyTests) runFile(ctx context.Context, path string, r *report.Report) error {
	t := &policyTest{path: path}
	if err := t.load(ctx); err != nil {
		return err
	}
	defer t.known.Close()
	var errs []error
	before := map[int]report.Verdict{} // what cases expected that expect another verdict now
	for i := range t.Cases {
		c := &t.Cases[i]
		if p.Run != nil && !p.Run.MatchString(c.Name) {
			continue
		}
		results, err := t.run(ctx, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("case %q: %w", c.Name, err))
			continue
		}
		other := func(one report.Result) bool { return one.Verdict != results[0].Verdict }
		if p.Update != nil && !c.Expect.accepts(results[0].Verdict) && !slices.ContainsFunc(results, other) {
			before[i], c.Expect.Verdict = c.Expect.Verdict, results[0].Verdict
		}
		failed := false
		for _, one := range results {
			one.Source, one.Line, one.Case, one.Problem = path, 0, c.Name, c.Expect.problem(&one)
			failed = failed || one.Problem != ""
			r.Add(one)
		}
		if r.Tests.Cases++; failed {
			r.Tests.Failed++
		}
	}
	return errors.Join(append(errs, t.rewrite(before, p.Update))...)
}

// rewrite writes the expected verdicts that changed into the file, in their places, so that comments and layout stay.
func (t *policyTest) rewrite(before map[int]report.Verdict, changed func(report.Problem)) error {
	if len(before) == 0 {
		return nil
	}
	data, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	var file struct {
		Cases []struct {
			Expect struct{ Verdict goyaml.Node }
		}
	}
	if err := goyaml.Unmarshal(data, &file); err != nil {
		return err
	}
	lines := strings.SplitAfter(string(data), "\n")
	for _, i := range slices.Backward(slices.Sorted(maps.Keys(before))) { // what is before it in a line stays in its place
		n := &file.Cases[i].Expect.Verdict
		if n.Kind != goyaml.ScalarNode {
			return fmt.Errorf("case %q: its verdict is an alias, which cannot be rewritten", t.Cases[i].Name)
		}
		for j := range file.Cases { // of which an alias may be all that is expected
			if o := &file.Cases[j].Expect.Verdict; o.Line == n.Line && o.Column == n.Column && t.Cases[j].Expect.Verdict != t.Cases[i].Expect.Verdict {
				return fmt.Errorf("case %q: its verdict is that of case %q too, so it cannot be rewritten", t.Cases[i].Name, t.Cases[j].Name)
			}
		}
		line := []rune(lines[n.Line-1])
		lines[n.Line-1] = string(line[:n.Column-1]) + strings.Replace(string(line[n.Column-1:]), n.Value, string(t.Cases[i].Expect.Verdict), 1)
	}
	if err := os.WriteFile(t.path, []byte(strings.Join(lines, "")), 0o666); err != nil { //nolint:gosec // it is there, and keeps its mode
		return err
	}
	for _, i := range slices.Sorted(maps.Keys(before)) {
		changed(report.Problem{Source: t.path, Message: fmt.Sprintf("case %q: expects %s, no longer %s", t.Cases[i].Name, t.Cases[i].Expect.Verdict, before[i])})
	}
	return nil
}

// load reads the file, and what its cases have in common. The caller closes the inventory.
func (t *policyTest) load(ctx context.Context) error {
	data, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	value, err := (&document{text: data, line: 1}).decode()
	if errors.Is(err, errSeveral) {
		err = errors.New("the file must hold one document only: put a second PolicyTest into a file of its own")
	}
	if err == nil {
		err = decode(value, policyTestKind, t)
	}
	if err == nil {
		err = t.validate()
	}
	if err != nil {
		return err
	}
	if t.Now.IsZero() {
		t.Now = time.Now()
	}
	c, err := LoadConfig(t.beside(t.Config))
	if err != nil {
		return err
	}
	t.options = Options{
		Now: t.Now, MaxLifetime: c.MaxExceptionLifetime, ExemptNamespaces: c.ExemptNamespaces,
		NamespaceLabels: func(context.Context, string) (map[string]string, error) { return nil, nil },
	}
	if t.options.Resources, err = t.loadPolicies(ctx); err != nil {
		return err
	}
	if err := t.addExceptions(ctx); err != nil {
		return err
	}
	file, err := t.loadInventory()
	if err == nil {
		t.known, err = NewFileInventory(file, c)
	}
	t.options.Facts = t.known
	return err
}

func (t *policyTest) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("invalid PolicyTest: "+format, args...))
		}
	}
	const version = "test.hssgate.io/v1alpha1"
	check(t.APIVersion == version && t.Kind == policyTestKind, "it must be a %s %s, not %q, %q", version, policyTestKind, t.APIVersion, t.Kind)
	check((len(t.Policies) > 0) != (t.Preset != ""), "it must have either policies or preset")
	check(t.Inventory == "" || t.Images == nil, "inventory and images exclude each other")
	check(len(t.Cases) > 0, "it has no cases")
	for i := range t.Cases {
		c := &t.Cases[i]
		check(c.Name != "", "cases[%d] has no name", i)
		given := slices.DeleteFunc([]bool{c.Image != "", c.Object != nil, c.File != ""}, func(given bool) bool { return !given })
		check(len(given) == 1, "case %q must have one of image, object and file", c.Name)
		check(c.HSS == "" || c.HSS == "Unavailable", "case %q: hss must be Unavailable or left out, not %q", c.Name, c.HSS)
		check(slices.Contains(report.Verdicts(), c.Expect.Verdict), "case %q: expect.verdict must be Admitted, Warned, Denied, Denied (its pods) or Unknown, not %q", c.Name, c.Expect.Verdict)
	}
	return errors.Join(errs...)
}

// beside returns the path of a file that is named relative to the test.
func (t *policyTest) beside(path string) string {
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(t.path), path)
	}
	return path
}

// loadPolicies reads the policies, which must be valid, and the exceptions beside them.
func (t *policyTest) loadPolicies(ctx context.Context) (loaded Resources, err error) {
	if t.Preset != "" {
		return Preset(t.Preset)
	}
	var f Files
	for _, path := range t.Policies {
		f.Paths = append(f.Paths, t.beside(path))
	}
	if loaded, err = LoadPolicies(ctx, f); err == nil {
		_, err = NewChecker(Options{Resources: Resources{Policies: loaded.Policies}})
	}
	return loaded, err
}

func (t *policyTest) addExceptions(ctx context.Context) error {
	m := Manifests{onlyResources: true}
	for i, e := range t.Exceptions {
		e["apiVersion"] = v1alpha1.GroupVersion.String()
		if e["kind"] == nil {
			e["kind"] = exceptionKind
		}
		if err := m.addValue(ctx, e, Object{}); err != nil {
			return fmt.Errorf("exceptions[%d]: %w", i, err)
		}
	}
	t.options.Resources.Exceptions = append(t.options.Resources.Exceptions, m.Exceptions...)
	return nil
}

func (t *policyTest) loadInventory() (*inventoryfile.File, error) {
	if t.Inventory != "" {
		return inventoryfile.Load(t.beside(t.Inventory), t.Now)
	}
	data, err := json.Marshal(map[string]any{"images": t.Images})
	if err != nil {
		return nil, err
	}
	return inventoryfile.Parse(data, t.Now)
}

// run evaluates the objects of a case. A namespace may be misspelt, and policies not select it, so it must be listed.
func (t *policyTest) run(ctx context.Context, c *policyTestCase) ([]report.Result, error) {
	m, err := t.manifests(ctx, c)
	if err != nil {
		return nil, err
	}
	o := t.options
	o.Clock, o.Resources.Exceptions = stopped(t.Now.Add(c.Later.Duration)), slices.Concat(o.Resources.Exceptions, m.Exceptions)
	o.Namespaces = map[string]map[string]string{metav1.NamespaceDefault: nil}
	maps.Copy(o.Namespaces, t.Namespaces)
	maps.Copy(o.Namespaces, m.Namespaces)
	for i := range m.Objects {
		one := &m.Objects[i] // exceptions without a namespace are of the default one, whatever the case's
		one.Namespace = cmp.Or(one.Namespace, c.Namespace, metav1.NamespaceDefault)
		if _, known := o.Namespaces[one.Namespace]; !known && t.Namespaces != nil {
			known := strings.Join(slices.Sorted(maps.Keys(o.Namespaces)), ", ")
			return nil, fmt.Errorf("namespace %q is not among namespaces (%s): list it there, one without labels as %[1]s: {}", one.Namespace, known)
		}
	}
	if c.HSS != "" {
		o.Facts = unavailable{t.known}
	}
	checker, err := NewChecker(o)
	if err != nil {
		return nil, err
	}
	results, _, err := checker.evaluateAll(ctx, m.Objects)
	return results, err
}

func (t *policyTest) manifests(ctx context.Context, c *policyTestCase) (m *Manifests, err error) {
	m = &Manifests{Namespaces: map[string]map[string]string{}}
	switch {
	case c.Image != "":
		m.Objects = []Object{ImageObject(c.Image)}
	case c.Object != nil:
		err = m.addValue(ctx, c.Object, Object{})
	default:
		m, err = (&Files{Paths: []string{t.beside(c.File)}}).Read(ctx)
	}
	switch {
	case err != nil:
		return nil, err
	case len(m.Problems) > 0:
		return nil, errors.New(m.Problems[0].String())
	case len(m.Objects) == 0:
		return nil, errors.New("there is no object in it that names images")
	}
	return m, nil
}

// accepts reports whether a verdict is the expected one. Denied may be of the pods only.
func (e *expectation) accepts(v report.Verdict) bool {
	return v == e.Verdict || e.Verdict == report.Denied && v.Denies()
}

func (e *expectation) problem(r *report.Result) string {
	why := strings.Join(r.Why(), "; ")
	if !e.accepts(r.Verdict) {
		return fmt.Sprintf("%s is %s, expected %s: %s", r.Title(), r.Verdict, e.Verdict, why)
	}
	said := strings.Join(slices.Concat(r.Why(), []string{r.Message}, r.Warnings), "\n")
	for _, part := range e.Says {
		if !strings.Contains(said, part) {
			return fmt.Sprintf("%s is %s as expected, but without saying %q: %s", r.Title(), r.Verdict, part, why)
		}
	}
	for _, part := range e.Silent {
		if strings.Contains(said, part) {
			return fmt.Sprintf("%s is %s as expected, but says %q", r.Title(), r.Verdict, part)
		}
	}
	return ""
}

type stopped time.Time // a clock that stands still

// Now returns the time at which it stands.
func (c stopped) Now() time.Time { return time.Time(c) }

// Since returns the time from t to then.
func (c stopped) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

type unavailable struct{ *inventory.Inventory } // an HSS that can't be reached

func (unavailable) Known(image.Reference) (policy.Facts, bool) { return policy.Facts{}, false }

func (unavailable) Facts(context.Context, image.Reference) policy.Facts {
	return policy.Facts{State: policy.StateUnavailable, Reason: "HSS is unreachable in this case of the test"}
}
