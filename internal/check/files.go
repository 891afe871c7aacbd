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

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/hssgate/hssgate/internal/report"
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
	// Recursive reads subfolders too.
	Recursive bool
	// Stdin is standard input. If it is nil, "-" is a file's name.
	Stdin io.Reader
}

// Read reads Kubernetes objects, and lists of them. A document that cannot be read is a
// problem, and the rest is read. It fails for a path that does not exist, and if ctx ends.
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
		m.addDocuments(ctx, f.Kustomize, data, true)
	}
	for _, path := range f.Paths {
		names, err := f.find(path)
		if err != nil {
			return err
		}
		for _, name := range names {
			data, err := f.read(ctx, name)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// A folder may hold empty files, but nothing on standard input means that the
			// program that was to write it has failed.
			if err == nil && name == path && len(bytes.TrimSpace(data)) == 0 {
				err = errors.New("it is empty")
			}
			if f.isStdin(name) {
				name = "stdin"
			}
			if err != nil {
				m.Problems = append(m.Problems, report.Problem{Source: name, Message: err.Error()})
			} else {
				m.addDocuments(ctx, name, data, false)
			}
		}
	}
	return nil
}

func (f *Files) isStdin(name string) bool { return name == Stdin && f.Stdin != nil }

// find returns the files that a path stands for. A file that is named is read
// whatever its extension, and a folder that is named may be a symbolic link.
func (f *Files) find(path string) ([]string, error) {
	if f.isStdin(path) || isURL(path) {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?[") {
		if names, _ := filepath.Glob(path); len(names) > 0 {
			return names, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var names []string
	err = fs.WalkDir(os.DirFS(path), ".", func(name string, entry fs.DirEntry, err error) error {
		// The volume of a ConfigMap has links to the files in its ..data folder.
		hidden := strings.HasPrefix(entry.Name(), "..")
		switch {
		case err != nil || name == ".":
			return err
		case entry.IsDir() && (!f.Recursive || hidden):
			return fs.SkipDir
		case !entry.IsDir() && !hidden && IsManifest(name):
			names = append(names, filepath.Join(path, name))
		}
		return nil
	})
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s: there is no .yaml, .yml or .json file in it", path)
	}
	return names, err
}

// IsManifest reports whether a file's name is that of a YAML or JSON file.
func IsManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name)))
}

func isURL(path string) bool {
	return strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://")
}

func (f *Files) read(ctx context.Context, name string) ([]byte, error) {
	switch {
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
		return nil, fmt.Errorf("build %s with kustomize: %w", folder, err)
	}
	return resources.AsYaml()
}

// untilDone returns a reader of r that ends with ctx. A read of a terminal can't
// be interrupted, so it is left to itself.
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
