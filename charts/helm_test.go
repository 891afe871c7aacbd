package charts_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

const (
	chart = "hssgate"
	// release and namespace are those of every rendering.
	release   = "hssgate"
	namespace = "hssgate-system"
)

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal checks that nothing differs.
func equal[T any](t testing.TB, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// tool returns the path of a tool that `make tools` builds.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", ".cache", "tools", "bin", name))
	must(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s isn't built: run make tools: %v", name, err)
	}
	return path
}

// run runs a command and returns what it printed, and whether it succeeded.
func run(t testing.TB, command *exec.Cmd) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err = command.Run()
	return out.String(), errs.String(), err
}

// helm returns a call of the real Helm that knows nothing of the user's own.
func helm(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), tool(t, "helm"), args...)
	home := t.TempDir()
	command.Env = append(os.Environ(),
		"HELM_CACHE_HOME="+filepath.Join(home, "cache"), "HELM_CONFIG_HOME="+filepath.Join(home, "config"),
		"HELM_DATA_HOME="+filepath.Join(home, "data"), "KUBECONFIG="+filepath.Join(home, "none"))
	return command
}

// rendered are functions that return what template does, by its arguments: each is
// rendered once.
var rendered sync.Map

// template renders the chart.
func template(t testing.TB, args ...string) (manifests string, err error) {
	t.Helper()
	once, _ := rendered.LoadOrStore(strings.Join(args, "\n"), sync.OnceValues(func() (string, error) {
		out, stderr, err := run(t, helm(t, append([]string{"template", release, chart, "--namespace", namespace}, args...)...))
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, stderr)
		}
		return out, nil
	}))
	return once.(func() (string, error))()
}

// render is template for values that are right.
func render(t testing.TB, args ...string) objects {
	t.Helper()
	manifests, err := template(t, args...)
	must(t, err)
	return parse(t, manifests)
}

// set makes --set arguments.
func set(values ...string) []string {
	args := make([]string, 0, 2*len(values))
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return args
}

// working are the least values that render.
func working(values ...string) []string {
	return set(append([]string{"hss.region=cn-north-4"}, values...)...)
}

// valuesFiles are the examples that every check of the chart renders.
func valuesFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d values files, %v", len(files), err)
	}
	return files
}

// objects are what was rendered, in its order. The configuration file follows the
// ConfigMap that holds it.
type objects []*unstructured.Unstructured

func parse(t testing.TB, manifests string) (all objects) {
	t.Helper()
	for document := range strings.SplitSeq("\n"+manifests, "\n---") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
		if file, ok, _ := unstructured.NestedString(object.Object, "data", "config.yaml"); ok {
			all = append(all, parse(t, file)...)
		}
	}
	return all
}

// at returns what a JSONPath finds: "Kind .path" in each object of a kind, in the
// order of names, or "Kind/name .path" in one.
func (o objects) at(t testing.TB, where string) string {
	t.Helper()
	object, path, _ := strings.Cut(where, " ")
	kind, name, _ := strings.Cut(object, "/")
	query := jsonpath.New(where).AllowMissingKeys(true)
	must(t, query.Parse("{"+path+"}"))
	var found []string
	for _, one := range o.ofKind(kind) {
		var out strings.Builder
		must(t, query.Execute(&out, one.Object))
		if name == "" || name == one.GetName() {
			found = append(found, out.String())
		}
	}
	return strings.TrimSpace(strings.Join(found, " "))
}

// ofKind returns the objects of a kind.
func (o objects) ofKind(kind string) objects {
	return slices.DeleteFunc(slices.Clone(o), func(u *unstructured.Unstructured) bool { return u.GetKind() != kind })
}

// one returns the only object of a kind.
func (o objects) one(t testing.TB, kind string) *unstructured.Unstructured {
	t.Helper()
	found := o.ofKind(kind)
	if len(found) != 1 {
		t.Fatalf("got %d objects of kind %s, want 1", len(found), kind)
	}
	return found[0]
}

// named returns the object of a kind with a name.
func (o objects) named(t testing.TB, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range o.ofKind(kind) {
		if object.GetName() == name {
			return object
		}
	}
	t.Fatalf("there's no %s %q", kind, name)
	return nil
}

// decode reads an object into its type, strictly.
func decode[T any](t testing.TB, object *unstructured.Unstructured) *T {
	t.Helper()
	data, err := yaml.Marshal(object.Object)
	must(t, err)
	into := new(T)
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatalf("%s %q: %v", object.GetKind(), object.GetName(), err)
	}
	return into
}

// readFile returns what a file holds.
func readFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

// writeFile puts a file into a folder of the test's own.
func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}
