package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// newFileMode is what the umask is taken from.
const newFileMode fs.FileMode = 0o666

// destination is a file that a report is to be written into.
type destination struct {
	// path is where it is, whatever links lead to it.
	path string
	// info is nil if there is none yet.
	info fs.FileInfo
}

// destinationOf follows the symbolic links of a path, so that the file that they
// lead to is written and they stay.
func destinationOf(path string) (*destination, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	case err == nil && !info.Mode().IsRegular():
		// Devices and pipes have names that lead nowhere, such as /dev/stdout.
		return &destination{path: path, info: info}, nil
	case err == nil:
		whole, err := filepath.EvalSymlinks(path)
		return &destination{path: whole, info: info}, err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if target, err := os.Readlink(path); err == nil {
		if !filepath.IsAbs(target) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return nil, err
			}
			target = filepath.Join(folder, target)
		}
		return destinationOf(target)
	}
	return &destination{path: path}, checkFolder(filepath.Dir(path))
}

// checkFolder says why there can be no file in a folder.
func checkFolder(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s", folder)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", folder)
	}
	return nil
}

// check tries whether it can be written, and changes nothing.
func (d *destination) check() error {
	switch {
	case d.info == nil:
		file, err := d.temporary()
		if err != nil {
			return err
		}
		return errors.Join(file.Close(), os.Remove(file.Name()))
	case !d.info.Mode().IsRegular():
		return nil // to open a pipe would wait for its reader, and then end it
	}
	file, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

// write has give write the content. A regular file is replaced as a whole or not
// at all, and keeps its mode.
func (d *destination) write(cmd *cobra.Command, give func(io.Writer) error) error {
	if d.info == nil {
		return d.replace(give)
	}
	if stream := d.streamOf(cmd); stream != nil {
		return give(stream)
	}
	if !d.info.Mode().IsRegular() {
		return d.overwrite(give)
	}
	err := d.replace(give)
	// A file may be writable in a folder that isn't, or be mounted, as a
	// container's may.
	if errors.Is(err, errFolder) || errors.Is(err, syscall.EBUSY) || errors.Is(err, fs.ErrPermission) {
		return d.overwrite(give)
	}
	return err
}

// streamOf is standard output or standard error if that is the file, such as
// /dev/stdout: what the shell has opened goes on where it is, and some kinds
// can't be opened again.
func (d *destination) streamOf(cmd *cobra.Command) io.Writer {
	for _, w := range []io.Writer{cmd.OutOrStdout(), cmd.ErrOrStderr()} {
		file, ok := w.(*os.File)
		if !ok {
			continue
		}
		if info, err := file.Stat(); err == nil && os.SameFile(info, d.info) {
			return file
		}
	}
	return nil
}

// overwrite writes into what is there.
func (d *destination) overwrite(give func(io.Writer) error) error {
	file, err := os.OpenFile(d.path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	return errors.Join(give(file), file.Close())
}

// errFolder is of a folder in which no file can be made.
var errFolder = errors.New("no file can be made in folder")

// replace writes a file beside it and gives that its name.
func (d *destination) replace(give func(io.Writer) error) error {
	file, err := d.temporary()
	if err != nil {
		return err
	}
	err = give(unnamed{file})
	if d.info != nil {
		err = errors.Join(err, cause(file.Chmod(d.info.Mode().Perm())))
	}
	err = errors.Join(err, cause(file.Close()))
	if err == nil {
		err = cause(os.Rename(file.Name(), d.path))
	}
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("%s: %w", d.path, err), cause(os.Remove(file.Name())))
}

// temporary makes a file in the same folder, with the mode of a new file, which
// os.CreateTemp does not give.
func (d *destination) temporary() (*os.File, error) {
	folder := filepath.Dir(d.path)
	file, err := os.OpenFile(filepath.Join(folder, ".hssgate-"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, newFileMode)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errFolder, folder, cause(err))
	}
	return file, nil
}

// unnamed is a file whose errors don't name it, for nobody has asked for it.
type unnamed struct{ file *os.File }

// Write writes to the file.
func (u unnamed) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	return n, cause(err)
}

// cause is the error without the file that it is of.
func cause(err error) error {
	var ofPath *fs.PathError
	var ofLink *os.LinkError
	switch {
	case errors.As(err, &ofPath):
		return ofPath.Err
	case errors.As(err, &ofLink):
		return ofLink.Err
	}
	return err
}
