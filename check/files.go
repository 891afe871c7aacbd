package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// maxFileBytes bounds a file, or what comes from standard input.
const maxFileBytes = 64 << 20

// Stdin stands for standard input in place of a file's name.
const Stdin = "-"

// Manifests is what files hold.
type Manifests struct {
	Objects    []Object
	Namespaces []Namespace
	Exceptions []v1alpha1.ImageScanException
	// Others counts the objects that name no images, such as Services.
	Others int
	// Skipped are the objects that may make pods without naming their images.
	Skipped []report.Problem
	// Problems are what could not be read.
	Problems []report.Problem
}

// Files says what to read.
type Files struct {
	// Paths are files, folders, or Stdin.
	Paths []string
	// Recursive reads the folders in folders, too.
	Recursive bool
	// Stdin is standard input; nil: it isn't read, and - is a file's name.
	Stdin io.Reader
}

// ErrNothing says that there is nothing to read.
var ErrNothing = errors.New("there is no .yaml, .yml or .json file")

// errEmpty is of standard input on which nothing came. What was to write it has
// failed, and must not pass for something that would be admitted.
var errEmpty = errors.New("nothing came on standard input")

// errEmptyFile is of a file that is named and empty, for the same reason. A
// folder may well hold one.
var errEmptyFile = errors.New("the file is empty")

// Read reads YAML documents, JSON, and lists of objects. What can't be read is
// a problem of its own, and the rest is read all the same. An error is of a
// path that doesn't exist, or of ctx.
func (f *Files) Read(ctx context.Context) (*Manifests, error) {
	m := &Manifests{}
	err := f.each(ctx, func(name string, data []byte, err error) {
		if err != nil {
			m.problem(name, 0, err)
			return
		}
		m.read(name, data)
	})
	return m, err
}

// each gives the content of every file, or why it can't be read.
func (f *Files) each(ctx context.Context, give func(name string, data []byte, err error)) error {
	for _, path := range f.Paths {
		if path == Stdin && f.Stdin != nil {
			data, err := readAll(untilDone(ctx, f.Stdin))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil && len(bytes.TrimSpace(data)) == 0 {
				err = errEmpty
			}
			give("stdin", data, err)
			continue
		}
		names, err := f.find(path)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			data, err := readFile(name)
			if err == nil && name == path && len(bytes.TrimSpace(data)) == 0 {
				err = errEmptyFile
			}
			give(name, data, err)
		}
	}
	return nil
}

// find returns the files that a path stands for. A file that is named is read
// whatever its name ends with, and a folder that is named may be a link to one.
func (f *Files) find(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	folder, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	var names []string
	err = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == folder:
		case entry.IsDir() && (!f.Recursive || isHidden(entry)):
			return fs.SkipDir
		case !entry.IsDir() && !isHidden(entry) && IsManifest(name):
			below, err := filepath.Rel(folder, name)
			if err != nil {
				return err
			}
			names = append(names, filepath.Join(path, below))
		}
		return nil
	})
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s: %w in it", path, ErrNothing)
	}
	return names, err
}

// isHidden tells whether an entry is one of those behind the links in the volume
// of a ConfigMap, such as ..data: the links give the same files.
func isHidden(entry fs.DirEntry) bool { return strings.HasPrefix(entry.Name(), "..") }

// IsManifest reports whether a file is one of YAML or JSON by its name.
func IsManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name)))
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file)
}

// untilDone is r until ctx ends. A terminal's read goes on until somebody
// presses Enter, whatever ends, so it is left to itself.
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

func (m *Manifests) read(name string, data []byte) {
	c := content{}
	for _, d := range split(data) {
		at := Object{Source: name, Line: d.start(), lines: d.imageLines()}
		value, err := d.json()
		if err == nil && value != nil {
			err = c.read(value, at)
		}
		if err != nil {
			m.problem(name, at.Line, err)
		}
	}
	m.Objects = append(m.Objects, c.objects...)
	m.Namespaces = append(m.Namespaces, c.namespaces...)
	m.Exceptions = append(m.Exceptions, c.exceptions...)
	m.Others += c.others
	m.Skipped = append(m.Skipped, c.skipped...)
}

func (m *Manifests) problem(name string, line int, err error) {
	m.Problems = append(m.Problems, report.Problem{Source: name, Line: line, Message: err.Error()})
}
