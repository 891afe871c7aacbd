package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tarWriter writes a layer. Files have no time and belong to root, so that the
// same content has the same digest.
type tarWriter struct {
	buffer bytes.Buffer
	*tar.Writer
	folders map[string]bool
}

func newTarWriter() *tarWriter {
	w := &tarWriter{folders: map[string]bool{".": true}}
	w.Writer = tar.NewWriter(&w.buffer)
	return w
}

func (w *tarWriter) close() ([]byte, error) {
	err := w.Close()
	return w.buffer.Bytes(), err
}

func opener(content []byte) tarball.Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

// folder adds a folder, and those above it, once.
func (w *tarWriter) folder(name string) error {
	if w.folders[name] {
		return nil
	}
	w.folders[name] = true
	if err := w.folder(path.Dir(name)); err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
}

func (w *tarWriter) file(name string, mode int64, content []byte) error {
	if err := w.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

func (w *tarWriter) copyFile(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return w.file(target, int64(info.Mode().Perm()), content)
}
