package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	distroless   = "gcr.io/distroless/static:nonroot"
	defaultPath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	certificates = "etc/ssl/certs/ca-certificates.crt"
	zoneinfo     = "usr/share/zoneinfo"
)

// tarWriter writes a layer. Files have no time, and belong to root unless a
// header says otherwise, so that the same content has the same digest.
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
func (w *tarWriter) folder(name string, mode int64, owner int) error {
	if w.folders[name] {
		return nil
	}
	w.folders[name] = true
	if err := w.folder(path.Dir(name), 0o755, 0); err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner})
}

func (w *tarWriter) file(name string, mode int64, content []byte) error {
	if err := w.folder(path.Dir(name), 0o755, 0); err != nil {
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

// copyTree adds the files and symbolic links below /name of this machine.
func (w *tarWriter) copyTree(name string) error {
	return fs.WalkDir(os.DirFS("/"), name, func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink("/" + p)
			if err != nil {
				return err
			}
			if err := w.folder(path.Dir(p), 0o755, 0); err != nil {
				return err
			}
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: p, Linkname: target, Mode: 0o777})
		}
		return w.copyFile("/"+p, p)
	})
}

// distrolessFiles writes what programs use of gcr.io/distroless/static:nonroot.
// CA certificates and time zones are those of this machine's packages
// ca-certificates and tzdata.
func distrolessFiles(w *tarWriter) error {
	for _, f := range []struct {
		name  string
		mode  int64
		owner int
	}{{"home/nonroot", 0o700, 65532}, {"root", 0o700, 0}, {"tmp", 0o1777, 0}} {
		if err := w.folder(f.name, f.mode, f.owner); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, content string }{
		{"etc/group", "root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n"},
		{"etc/nsswitch.conf", "hosts: files dns\n"},
		{"etc/passwd", strings.Join([]string{
			"root:x:0:0:root:/root:/sbin/nologin",
			"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin",
			"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
		}, "\n")},
	} {
		if err := w.file(f.name, 0o644, []byte(f.content)); err != nil {
			return err
		}
	}
	for _, tree := range []string{certificates, zoneinfo} {
		if err := w.copyTree(tree); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("/%s is missing: install the packages ca-certificates and tzdata: %w", filepath.ToSlash(tree), err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
