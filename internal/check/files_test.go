package check_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/policy/glob"
)

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n  - name: app\n    image: a.io/web:1\n"

// writeFile writes a file, and the folder that it is in.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o750))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readText reads manifests from standard input.
func readText(t *testing.T, text string) *check.Manifests {
	t.Helper()
	m, err := (&check.Files{Paths: []string{check.Stdin}, Stdin: strings.NewReader(text)}).Read(t.Context())
	must(t, err)
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
	const spec = ", spec: {template: {spec: {containers: [{name: a, image: 'b:1'}]}}}}"
	const merged = "apiVersion: v1\nkind: Pod\nmetadata: {name: m}\nspec:\n  initContainers: [&a {name: a, image: 'a:1'}, &b {name: b, image: 'b:1'}]\n  containers: "
	const dashed = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    note: |\n      ---\nspec:\n  containers: [{name: a, image: 'b:1'}]\n"
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"only comments":                    {"# nothing\n---\n# here\n", nil},
		"a pod":                            {pod, []string{"shop/Pod/web a.io/web:1"}},
		"several documents":                {pod + "---\n" + template + "\n--- # the end\n", []string{"shop/Pod/web a.io/web:1", "/Deployment/d d:1"}},
		"JSON":                             {`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"j-"},"spec":{"containers":[{"name":"a","image":"j:1"}]}}`, []string{"/Pod/j-* j:1"}},
		"a list of anything":               {"apiVersion: v1\nkind: List\nitems:\n- " + template + "\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n", []string{"/Deployment/d d:1"}},
		"a list whose items say no kind":   {"{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: d}, spec: {template: {spec: {containers: [{image: 'd:1'}]}}}}]}", []string{"/Deployment/d d:1"}},
		"a list in a list":                 {"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: [" + template + "]}]}", []string{"/Deployment/d d:1"}},
		"a kind that names no images":      {"apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", nil},
		"a kind that only sounds like one": {"apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: d}\n", nil},
		"another kind with odd fields":     {"apiVersion: example.com/v1\nkind: Odd\nmetadata: {name: o}\nspec: [1, 2]\n", nil},
		"a merged key":                     {merged + "[{<<: *a, name: c}]", []string{"/Pod/m a:1 b:1 a:1"}},
		"one that a later key overrides":   {merged + "[{<<: *a, name: c, image: 'b:1'}]", []string{"/Pod/m a:1 b:1 b:1"}},
		"the first of several merged keys": {merged + "[{<<: [*b, *a], name: c}]", []string{"/Pod/m a:1 b:1 b:1"}},
		// So that no image passes unseen.
		"a misspelt kind":           {"{apiVersion: apps/v1, kind: Deploymnet" + spec, []string{"/Deploymnet/ b:1"}},
		"a kind without its group":  {"{apiVersion: v1, kind: Deployment" + spec, []string{"/Deployment/ b:1"}},
		"a kind of another version": {"{apiVersion: apps/v2, kind: Deployment" + spec, []string{"/Deployment/ b:1"}},
		"a kind of another group":   {"{apiVersion: extensions/v1beta1, kind: Deployment" + spec, []string{"/Deployment/ b:1"}},
		"dashes in a text":          {dashed, []string{"/Pod/web b:1"}},
	} {
		m := readText(t, tt.text)
		if diff := cmp.Diff(tt.want, names(m)); diff != "" || len(m.Problems) > 0 {
			t.Errorf("%s: problems %v, objects (-want +got):\n%s", name, m.Problems, diff)
		}
	}
}

func TestObjectsAreKnownByTheirPlaceAndOwner(t *testing.T) {
	t.Parallel()
	owned := strings.Replace(pod, "namespace: shop", "namespace: shop, ownerReferences: [{kind: Node, name: host}, {kind: ReplicaSet, name: web-1, controller: true}]", 1)
	m := readText(t, "# a comment\n---\n# another\n"+owned+"---\n"+`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"env":"prod"}}}`)
	if got := m.Objects[0]; got.Source != "stdin" || got.Line != 4 || got.Owner.String() != "ReplicaSet/web-1" {
		t.Errorf("the pod of %s is at %s:%d, want that of ReplicaSet/web-1 at stdin:4", got.Owner, got.Source, got.Line)
	}
	want := map[string]map[string]string{"shop": {"env": "prod"}}
	if diff := cmp.Diff(want, m.Namespaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o := simulated(t)
	r := checkObjects(t, o, m.Objects)
	if got := r.Results[0].Images[0].Line; got != 10 {
		t.Errorf("its image is at line %d, want 10", got)
	}
}

// TestFilesAreFound reads files in every way in which they can be named.
func TestFilesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"folder/b.yaml": pod, "folder/a.YML": pod, "folder/c.json": "{}", "folder/d.txt": pod, "folder/sub/e.yaml": pod, "folder/empty.yaml": "\n",
		"volume/..2026_11_23/pod.yaml": pod, "kustomize/a.yaml": pod, "dotted/.a.yaml": pod,
		"kustomize/kustomization.yaml": "resources: [a.yaml]\nimages: [{name: a.io/web, newTag: '2'}]\n",
		"repo/base/pod.yaml":           pod, "repo/base/kustomization.yml": "resources: [pod.yaml]\n", "repo/base/unnamed.yaml": pod,
		"repo/prod/Kustomization":     "resources: [../base]\nimages: [{name: a.io/web, newTag: '2'}]\ncomponents: [../part]\n",
		"repo/part/kustomization.yml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages: [{name: a.io/web, newTag: '2'}]\n",
		"repo/chart/Chart.yaml":       "name: c\n", "repo/chart/templates/a.yaml": "image: {{ .Values.image }}\n", "repo/compose.yaml": "services: {}\n---\n- {}\n",
		"repo/data/tsconfig.json": "{/* a comment */}", "typo/a.yaml": "apiVersion: v1\nKind: Pod\n", "typo/b.yaml": "kind: Pod\n", "typo/c.yaml": "apiVersion: {]\n",
		"helm/kustomization.yaml": "helmCharts: [{name: a, repo: 'https://example.com'}]\n", "own/hssgate.yaml": "apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\n",
		"own/test.yaml": "apiVersion: test.hssgate.io/v1alpha1\nkind: PolicyTest\ncases: [{image: 'a:1'}]\n",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	// The volume of a ConfigMap holds its files in a folder that is changed as a whole, and links to them.
	for from, to := range map[string]string{"volume/..data": "..2026_11_23", "volume/pod.yaml": "..data/pod.yaml", "link": "volume"} {
		must(t, os.Symlink(to, filepath.Join(dir, from)))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	const noObject = ":1: not evaluated, since it is no Kubernetes object"
	for name, tt := range map[string]struct {
		path      string
		kustomize bool
		recursive bool
		exclude   string
		want      string
		problem   string
		notes     []string // also of what is skipped
	}{
		"a folder":                         {path: "folder", want: "folder/a.YML folder/b.yaml", notes: []string{"folder/c.json" + noObject}},
		"a folder with its subfolders":     {path: "folder", recursive: true, want: "folder/a.YML folder/b.yaml folder/sub/e.yaml", notes: []string{"folder/c.json" + noObject}},
		"a name that is in no folder":      {path: "folder", recursive: true, exclude: "d", want: "folder/a.YML folder/b.yaml folder/sub/e.yaml", notes: []string{"folder/c.json" + noObject}},
		"a folder without names by a glob": {path: "folder", recursive: true, exclude: "*.json e.*", want: "folder/a.YML folder/b.yaml"},
		"a folder without a path":          {path: "folder", recursive: true, exclude: "/b.yaml c.json sub/**", want: "folder/a.YML"},
		"a folder without a folder":        {path: "folder", recursive: true, exclude: "sub/ c.json /e.yaml", want: "folder/a.YML folder/b.yaml"},
		"no manifest that is named":        {path: "folder/c.json", problem: "c.json:1: it is no Kubernetes object"},
		"typing errors":                    {path: "typo", problem: "[typo/a.yaml:1: it is no Kubernetes object: it has no apiVersion or no kind typo/b.yaml:1: it is no Kubernetes object: it has no apiVersion or no kind typo/c.yaml:1: read"},
		"a folder of a kustomization":      {path: "kustomize", want: "kustomize", notes: []string{"kustomize: it holds a kustomization, which is built as -k does"}},
		"the folders of a repository": {path: "repo", recursive: true, want: "repo/prod", notes: []string{
			"repo/prod: it holds a kustomization, which is built as -k does", "repo/compose.yaml" + noObject, "repo/compose.yaml:3: not", "repo/data/tsconfig.json" + noObject,
			"repo/chart: it is a Helm chart: render it (helm template repo/chart | hssgate check -f -)",
		}},
		"a kustomization of a chart":          {path: "helm", problem: "build it first (kustomize build --enable-helm helm | hssgate check -f -)", notes: []string{"helm: it holds a kustomization"}},
		"hssgate's own files":                 {path: "own"},
		"a folder of a chart":                 {path: "repo/chart", notes: []string{"repo/chart: it is a Helm chart"}},
		"a folder of a dotted file":           {path: "dotted/.", want: "dotted/.a.yaml"},
		"a file of any extension":             {path: "folder/d.txt", want: "folder/d.txt"},
		"an empty file that is named":         {path: "folder/empty.yaml", problem: "empty.yaml: it is empty"},
		"a glob":                              {path: "folder/[ab].*", want: "folder/a.YML folder/b.yaml"},
		"a glob of folders":                   {path: "k*z*", want: "kustomize", notes: []string{"kustomize: it holds a kustomization"}},
		"a glob of nothing":                   {path: "folder/x*", problem: "no such file"},
		"a file that is not there":            {path: "nowhere", problem: "no such file"},
		"the volume of a ConfigMap":           {path: "volume", recursive: true, want: "volume/pod.yaml"},
		"a link to a folder":                  {path: "link", recursive: true, want: "link/pod.yaml"},
		"a link to a folder, by a slash":      {path: "link/", recursive: true, want: "link/pod.yaml"},
		"a link within a volume":              {path: "volume/..data", want: "volume/..data/pod.yaml"},
		"a folder without manifests":          {path: "volume/..", want: "", problem: "there is no .yaml, .yml or .json file"},
		"a URL":                               {path: server.URL + "/folder/b.yaml", want: server.URL + "/folder/b.yaml"},
		"a URL of nothing":                    {path: server.URL + "/x.yaml", problem: "the server answers 404"},
		"a folder to build with kustomize":    {path: "kustomize", kustomize: true, want: "kustomize"},
		"a folder that kustomize can't build": {path: "folder", kustomize: true, problem: "unable to find one of 'kustomization.yaml'"},
	} {
		path := tt.path
		if !strings.HasPrefix(path, "http") {
			path = dir + "/" + path
		}
		f := check.Files{Paths: []string{path}, Recursive: tt.recursive}
		if tt.kustomize {
			f = check.Files{Kustomize: path}
		}
		for pattern := range strings.FieldsSeq(tt.exclude) {
			one, err := glob.CompilePath(pattern)
			must(t, err)
			f.Exclude = append(f.Exclude, one)
		}
		m, err := f.Read(t.Context())
		var sources []string
		for _, o := range m.Objects {
			sources = append(sources, strings.TrimPrefix(o.Source, dir+"/"))
			if tag, _ := strings.CutPrefix(o.Workload.Uses[0].Image, "a.io/web:"); (tag == "2") == strings.Contains(filepath.Base(o.Source), ".") {
				t.Errorf("%s: the image of %s is %s", name, o.Source, o.Workload.Uses[0].Image)
			}
		}
		noted := strings.ReplaceAll(fmt.Sprint(m.Notes, m.Skipped), dir+"/", "")
		for _, note := range tt.notes {
			if len(m.Notes)+len(m.Skipped) != len(tt.notes) || !strings.Contains(noted, note) {
				t.Errorf("%s: noted %s, want %s", name, noted, note)
			}
		}
		failed := strings.ReplaceAll(fmt.Sprint(err, m.Problems), dir+"/", "")
		if diff := cmp.Diff(tt.want, strings.Join(sources, " ")); diff != "" || !strings.Contains(failed, tt.problem) || tt.problem == "" && failed != "<nil> []" {
			t.Errorf("%s: %s (-want +got):\n%s", name, failed, diff)
		}
	}
}

// A program that should have written to standard input prints nothing when it fails.
func TestStandardInputMustHoldSomething(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		input io.Reader
		want  string
	}{
		"nothing":     {strings.NewReader(""), "stdin: it is empty"},
		"white space": {strings.NewReader(" \n\n"), "stdin: it is empty"},
		"too much":    {io.MultiReader(strings.NewReader(strings.Repeat("#", 64<<20)), strings.NewReader("#")), "larger than 67108864 bytes"},
		"an error":    {iotest.ErrReader(errors.New("broken")), "broken"},
	} {
		m, err := (&check.Files{Paths: []string{check.Stdin}, Stdin: tt.input}).Read(t.Context())
		if err != nil || len(m.Problems) != 1 || !strings.Contains(m.Problems[0].String(), tt.want) {
			t.Errorf("%s: got %v, %v, want a problem with %q", name, m.Problems, err, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(pod + "---\n" + pod))
	f.Add([]byte("kind: List\napiVersion: v1\nitems: [{}]\n--- #\r\n---"))
	f.Add([]byte(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"image":"a"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := (&check.Files{Paths: []string{check.Stdin}, Stdin: strings.NewReader(string(data))}).Read(context.Background())
		must(t, err)
		lines := strings.Count(string(data), "\n") + 1
		for _, o := range m.Objects {
			if o.Line < 1 || o.Line > lines {
				t.Errorf("an object at line %d of %d", o.Line, lines)
			}
		}
	})
}
