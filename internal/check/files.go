package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/glob"
)

const (
	// Stdin stands for standard input in place of a file's name.
	Stdin = "-"

	maxFileBytes = 64 << 20
	urlTimeout   = 30 * time.Second
)

// Files names what to read.
type Files struct {
	// Paths are files, folders, globs, URLs, or Stdin.
	Paths []string
	// Kustomize is a folder to build with kustomize, as kubectl -k does. Optional.
	Kustomize string
	Recursive bool
	// Exclude are paths in folders that are not read; see glob.CompilePath.
	Exclude glob.Set
	// Stdin is standard input. If it is nil, "-" is a file's name.
	Stdin io.Reader
}

type origin int // the way in which a text is found

const (
	named   origin = iota // by its path
	inside                // in a folder, so it may be no manifest
	builtBy               // the folder of a kustomization, so its lines are those of no file
)

// input is a file, or a folder to build with kustomize.
type input struct {
	name string
	origin
}

// Read reads Kubernetes objects, and lists of them. A document that cannot be read is a problem, and the rest is read.
// In folders, kustomizations are built, Helm charts are skipped, and files that are no manifests are noted. It fails
// for a path that does not exist, and if ctx ends.
func (f *Files) Read(ctx context.Context) (*Manifests, error) {
	m := &Manifests{Namespaces: map[string]map[string]string{}}
	return m, f.readInto(ctx, m)
}

func (f *Files) readInto(ctx context.Context, m *Manifests) error {
	if f.Kustomize != "" {
		data, err := kustomize(f.Kustomize)
		if err != nil {
			return err
		}
		m.addDocuments(ctx, input{f.Kustomize, builtBy}, data)
	}
	for _, path := range f.Paths {
		inputs, err := f.find(m, path)
		if err != nil {
			return err
		}
		for _, one := range inputs {
			data, err := f.read(ctx, one)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// A folder may hold empty files, but an empty standard input means that the program before it has failed.
			if err == nil && one.name == path && len(bytes.TrimSpace(data)) == 0 {
				err = errors.New("it is empty")
			}
			if f.isStdin(one.name) {
				one.name = "stdin"
			}
			if err != nil {
				m.Problems = append(m.Problems, report.Problem{Source: one.name, Message: err.Error()})
			} else {
				m.addDocuments(ctx, one, data)
			}
		}
	}
	return nil
}

func (f *Files) isStdin(name string) bool { return name == Stdin && f.Stdin != nil }

// find returns what a path stands for. A file that is named is read whatever its
// extension, and a folder that is named may be a symbolic link.
func (f *Files) find(m *Manifests, path string) ([]input, error) {
	if f.isStdin(path) || isURL(path) {
		return []input{{path, named}}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?[") {
		if names, _ := filepath.Glob(path); len(names) > 0 {
			var inputs []input
			for _, name := range names {
				found, err := f.find(m, name)
				if err != nil {
					return nil, err
				}
				inputs = append(inputs, found...)
			}
			return inputs, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []input{{path, named}}, nil
	}
	w := &walk{Files: f, Manifests: m, root: path}
	err = fs.WalkDir(os.DirFS(path), ".", w.visit)
	inputs := append(w.roots(), w.files...)
	if err == nil && len(inputs)+w.charts == 0 {
		err = fmt.Errorf("%s: there is no .yaml, .yml or .json file in it", path)
	}
	return inputs, err
}

type walk struct {
	*Files
	*Manifests

	root           string
	files          []input
	kustomizations []string // folders
	charts         int
}

func (w *walk) visit(name string, entry fs.DirEntry, err error) error {
	path, isRoot := filepath.Join(w.root, name), name == "."
	// The volume of a ConfigMap has links to the files in its ..data folder.
	hidden := strings.HasPrefix(entry.Name(), "..") && !isRoot
	under := func(folder string) bool { return strings.HasPrefix(path, folder+string(filepath.Separator)) }
	switch {
	case err != nil:
		return err
	case !isRoot && w.Exclude.Match(filepath.ToSlash(name)), entry.IsDir() && !isRoot && (hidden || !w.Recursive):
		if entry.IsDir() {
			return fs.SkipDir
		}
	case entry.IsDir() && isFile(filepath.Join(path, "Chart.yaml")):
		w.charts++
		chart := report.Problem{Source: path, Message: "it is a Helm chart: render it (helm template " + path + " | hssgate check -f -)"}
		if w.onlyResources { // it may hold a policy
			w.Problems = append(w.Problems, chart)
		} else {
			w.Skipped = append(w.Skipped, chart)
		}
		return fs.SkipDir
	case entry.IsDir() && slices.ContainsFunc(konfig.RecognizedKustomizationFileNames(), func(file string) bool { return isFile(filepath.Join(path, file)) }):
		w.kustomizations = append(w.kustomizations, path)
	case !entry.IsDir() && !hidden && IsManifest(name) && !slices.ContainsFunc(w.kustomizations, under):
		w.files = append(w.files, input{path, inside})
	}
	return nil
}

// roots returns the kustomizations that are no part of another one.
func (w *walk) roots() (roots []input) {
	parts := map[string]bool{}
	for _, folder := range w.kustomizations {
		var k types.Kustomization
		for _, file := range konfig.RecognizedKustomizationFileNames() {
			if data, err := os.ReadFile(filepath.Join(folder, file)); err == nil {
				_ = yaml.Unmarshal(data, &k) // kustomize reports what is wrong
			}
		}
		for _, part := range slices.Concat(k.Resources, k.Bases, k.Components) { //nolint:staticcheck // bases are in use
			parts[filepath.Join(folder, part)] = true
		}
		if k.Kind == types.ComponentKind {
			parts[folder] = true
		}
	}
	for _, folder := range w.kustomizations {
		if !parts[folder] {
			roots = append(roots, input{folder, builtBy})
			w.Notes = append(w.Notes, report.Problem{Source: folder, Message: "it holds a kustomization, which is built as -k does"})
		}
	}
	return roots
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// IsManifest reports whether a file's name is that of a YAML or JSON file.
func IsManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name)))
}

func isURL(path string) bool {
	return strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://")
}

func (f *Files) read(ctx context.Context, from input) ([]byte, error) {
	name := from.name
	switch {
	case from.origin == builtBy:
		return kustomize(name)
	case f.isStdin(name):
		return readAll(untilDone(ctx, f.Stdin))
	case isURL(name):
		return download(ctx, name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file)
}

func download(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Timeout: urlTimeout}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", response.Status)
	}
	return readAll(response.Body)
}

func kustomize(folder string) ([]byte, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		hint := ""
		if strings.Contains(err.Error(), "--enable-helm") {
			hint = fmt.Sprintf(": build it first (kustomize build --enable-helm %s | hssgate check -f -)", folder)
		}
		return nil, fmt.Errorf("build %s with kustomize: %w%s", folder, err, hint)
	}
	return resources.AsYaml()
}

// untilDone returns a reader of r that ends with ctx. A read of a terminal can't be interrupted, so it is left alone.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(writer, r)
		writer.CloseWithError(err)
	}()
	return reader
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("it is larger than %d bytes", maxFileBytes)
	}
	return data, err
}
