package check_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/check"
)

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n  - name: app\n    image: a.io/web:1\n"

// readText reads manifests from standard input.
func readText(t *testing.T, text string) *check.Manifests {
	t.Helper()
	m, err := (&check.Files{Paths: []string{check.Stdin}, Stdin: strings.NewReader(text)}).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// names are the objects of manifests in a few words.
func names(m *check.Manifests) []string {
	var names []string
	for _, o := range m.Objects {
		text := o.Namespace + "/" + o.Workload.Kind + "/" + o.Name
		for _, use := range o.Workload.Uses {
			text += " " + use.Image
		}
		names = append(names, text)
	}
	return names
}

func TestManifestsAreRead(t *testing.T) {
	t.Parallel()
	const template = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {template: {spec: {containers: [{name: c, image: 'd:1'}]}}}}"
	const dashed = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    note: |\n      ---\nspec:\n  containers: [{name: a, image: 'b:1'}]\n"
	tests := map[string]struct {
		text   string
		want   []string
		others int
	}{
		"only comments":                    {"# nothing\n---\n# here\n", nil, 0},
		"a pod":                            {pod, []string{"shop/Pod/web a.io/web:1"}, 0},
		"several documents":                {pod + "---\n" + template + "\n--- # the end\n", []string{"shop/Pod/web a.io/web:1", "/Deployment/d d:1"}, 0},
		"JSON":                             {`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"j-"},"spec":{"containers":[{"name":"a","image":"j:1"}]}}`, []string{"/Pod/j-* j:1"}, 0},
		"a list of anything":               {"apiVersion: v1\nkind: List\nitems:\n- " + template + "\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n", []string{"/Deployment/d d:1"}, 1},
		"a list whose items say no kind":   {"{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: d}, spec: {template: {spec: {containers: [{image: 'd:1'}]}}}}]}", []string{"/Deployment/d d:1"}, 0},
		"a list in a list":                 {"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: [" + template + "]}]}", []string{"/Deployment/d d:1"}, 0},
		"a kind that names no images":      {"apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", nil, 1},
		"a kind that only sounds like one": {"apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: d}\n", nil, 0},
		"another kind with odd fields":     {"apiVersion: example.com/v1\nkind: Odd\nmetadata: {name: o}\nspec: [1, 2]\n", nil, 0},
		"dashes in a text":                 {dashed, []string{"/Pod/web b:1"}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := readText(t, tt.text)
			if len(m.Problems) > 0 {
				t.Errorf("problems: %v", m.Problems)
			}
			if diff := cmp.Diff(tt.want, names(m)); diff != "" || m.Others != tt.others {
				t.Errorf("%d others, want %d (-want +got):\n%s", m.Others, tt.others, diff)
			}
		})
	}
}

// helm template and the like print nothing when they fail, and in a pipe that
// is all that can be seen of it.
func TestNothingOnStandardInputIsAProblem(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"nothing": "", "white space": " \n\n"} {
		m := readText(t, text)
		if len(m.Problems) != 1 || m.Problems[0].String() != "stdin: nothing came on standard input" {
			t.Errorf("%s: problems: %v", name, m.Problems)
		}
	}
}

// No t.Parallel: it changes the folder that the program works in.
func TestTheFolderThatOneIsInIsReadLikeAnyOther(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, image := range map[string]string{"a.yaml": "plain:1", ".a.yaml": "dotted:1"} {
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(pod, "a.io/web:1", image)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{".", "./"} {
		m, err := (&check.Files{Paths: []string{path}}).Read(t.Context())
		if diff := cmp.Diff([]string{"shop/Pod/web dotted:1", "shop/Pod/web plain:1"}, names(m)); diff != "" || err != nil || len(m.Problems) > 0 {
			t.Errorf("%s: %v %v (-want +got):\n%s", path, err, m.Problems, diff)
		}
	}
}

func TestAnEmptyFileThatIsNamedIsAProblem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "rendered.yaml")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{empty: 1, dir: 0} {
		m, err := (&check.Files{Paths: []string{path}}).Read(t.Context())
		if err != nil || len(m.Problems) != want {
			t.Errorf("%s: problems %v, error %v, want %d problems", path, m.Problems, err, want)
		}
	}
}

func TestWhatCannotBeReadIsAProblemOfItsOwn(t *testing.T) {
	t.Parallel()
	deep := pod
	for range 6 {
		deep = "{apiVersion: v1, kind: List, items: [" + strings.ReplaceAll(deep, pod, "{apiVersion: v1, kind: Service}") + "]}"
	}
	tests := map[string]struct {
		text, want string
		line       int
	}{
		"no YAML":             {"{]", "read the YAML", 0},
		"a key twice":         {"kind: Pod\nkind: Pod\n", "already set", 0},
		"no kind":             {"a: 1\n", "it has no apiVersion or no kind", 0},
		"no object":           {"- 1\n", "it is a list, no Kubernetes object", 0},
		"no object but text":  {"web\n", "it is no Kubernetes object: it has no apiVersion or no kind", 0},
		"a pod of odd fields": {"apiVersion: v1\nkind: Pod\nspec: 7\n", "read Pod", 0},
		"JSON after JSON":     {`{"apiVersion":"v1","kind":"Pod"}` + "\n" + `{"apiVersion":"v1","kind":"Pod"}`, "something follows the first document", 0},
		"dots for dashes":     {"apiVersion: v1\nkind: Pod\n...\napiVersion: v1\nkind: Pod\n", "something follows", 0},
		"text on the dashes":  {"apiVersion: v1\nkind: Pod\n--- {apiVersion: v1, kind: Pod}\n", "something follows", 0},
		"a namespace's label": {"apiVersion: v1\nkind: Namespace\nmetadata: {labels: {tier: 1}}\n", "read Namespace", 0},
		"a kind's case":       {"apiVersion: v1\nkind: pod\n", `there is no kind "pod" in apiVersion "v1": kind Pod is of the core group (such as v1)`, 0},
		"a kind's group":      {"apiVersion: v1\nkind: Deployment\nspec: 7\n", `there is no kind "Deployment" in apiVersion "v1": kind Deployment is of apps`, 0},
		"a list, not objects": {"[{apiVersion: v1, kind: Pod}]", "it is a list, no Kubernetes object", 0},
		"an item":             {"{apiVersion: v1, kind: List, items: [{a: 1}]}", "items[0]: it is no Kubernetes object", 0},
		"lists without end":   {deep, "more than 4 deep", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := readText(t, pod+"---\n# what is wrong\n"+tt.text+"\n---\n"+pod)
			if len(m.Problems) != 1 || !strings.Contains(m.Problems[0].Message, tt.want) || m.Problems[0].Line != 10 {
				t.Errorf("got problems %v, want one at line 10 with %q", m.Problems, tt.want)
			}
			if len(m.Objects) != 2 {
				t.Errorf("got %d objects around it, want 2", len(m.Objects))
			}
		})
	}
}

func TestWhereImagesStandIsKnown(t *testing.T) {
	t.Parallel()
	m := readText(t, "# a comment\n---\n# another\n"+pod+"---\n"+`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"env":"prod"}}}`)
	if got := m.Objects[0]; got.Source != "stdin" || got.Line != 4 {
		t.Errorf("the pod is at %s:%d, want stdin:4", got.Source, got.Line)
	}
	want := []check.Namespace{{Name: "shop", Labels: map[string]string{"env": "prod"}}}
	if diff := cmp.Diff(want, m.Namespaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o := simulated(t)
	r := checkObjects(t, o, m.Objects)
	if got := r.Results[0].Images[0].Line; got != 10 {
		t.Errorf("its image is at line %d, want 10", got)
	}
}

func TestFoldersAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml": pod, "a.YML": pod, "c.json": "{}", "d.txt": "nothing", "sub/e.yaml": pod,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for recursive, want := range map[bool][]string{false: {"a.YML", "b.yaml"}, true: {"a.YML", "b.yaml", "sub/e.yaml"}} {
		m, err := (&check.Files{Paths: []string{dir}, Recursive: recursive}).Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range m.Objects {
			got = append(got, strings.TrimPrefix(o.Source, dir+"/"))
		}
		if diff := cmp.Diff(want, got); diff != "" || len(m.Problems) != 1 {
			t.Errorf("recursive %t: problems %v (-want +got):\n%s", recursive, m.Problems, diff)
		}
	}
	named := check.Files{Paths: []string{filepath.Join(dir, "d.txt")}}
	if m, err := named.Read(t.Context()); err != nil || len(m.Problems) != 1 {
		t.Errorf("a file that is named was not read: %v, %v", m, err)
	}
}

// The volume of a ConfigMap holds its files in a folder that is changed as a
// whole, and links to them.
func TestTheVolumeOfAConfigMapIsReadOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	volume, link := filepath.Join(dir, "volume"), filepath.Join(dir, "link")
	if err := os.MkdirAll(filepath.Join(volume, "..2026_11_23"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(volume, "..2026_11_23", "pod.yaml"), []byte(pod), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		filepath.Join(volume, "..data"): "..2026_11_23", filepath.Join(volume, "pod.yaml"): "..data/pod.yaml", link: "volume",
	} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{volume, link, link + "/", filepath.Join(volume, "..data")} {
		m, err := (&check.Files{Paths: []string{path}, Recursive: true}).Read(t.Context())
		if err != nil || len(m.Objects) != 1 || m.Objects[0].Source != filepath.Join(path, "pod.yaml") {
			t.Errorf("%s: got %v and %v", path, m, err)
		}
	}
}

func TestAPathThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	for want, path := range map[error]string{fs.ErrNotExist: "no-such-file", check.ErrNothing: t.TempDir()} {
		if _, err := (&check.Files{Paths: []string{path}}).Read(t.Context()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&check.Files{Paths: []string{"files_test.go"}}).Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestInputIsBounded(t *testing.T) {
	t.Parallel()
	for want, input := range map[string]io.Reader{
		"larger than 67108864 bytes": io.MultiReader(strings.NewReader(strings.Repeat("#", 64<<20)), strings.NewReader("#")),
		"broken":                     iotest.ErrReader(errors.New("broken")),
	} {
		m, err := (&check.Files{Paths: []string{check.Stdin}, Stdin: input}).Read(t.Context())
		if err != nil || len(m.Problems) != 1 || !strings.Contains(m.Problems[0].String(), want) {
			t.Errorf("got %v, %v, want a problem with %q", m.Problems, err, want)
		}
	}
}

func TestThePodsOwnerIsKnown(t *testing.T) {
	t.Parallel()
	m := readText(t, strings.Replace(pod, "namespace: shop", "namespace: shop, ownerReferences: [{kind: Node, name: host}, {kind: ReplicaSet, name: web-1, controller: true}]", 1))
	if len(m.Problems) > 0 {
		t.Fatal(m.Problems)
	}
	if got := m.Objects[0].Owner; got != "ReplicaSet/web-1" {
		t.Errorf("got %q", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(pod + "---\n" + pod))
	f.Add([]byte("kind: List\napiVersion: v1\nitems: [{}]\n--- #\r\n---"))
	f.Add([]byte(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"image":"a"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := (&check.Files{Paths: []string{check.Stdin}, Stdin: strings.NewReader(string(data))}).Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, o := range m.Objects {
			if o.Line < 1 || o.Line > lines {
				t.Errorf("an object at line %d of %d", o.Line, lines)
			}
		}
	})
}
