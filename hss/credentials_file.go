package hss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// maxCredentialFile bounds a file that credentials are read from.
const maxCredentialFile = 1 << 20

// FileCredentials reads an access key and its secret key from a file each, as
// a mounted Kubernetes Secret has them, and reads them anew when they change.
// securityTokenFile may be empty.
func FileCredentials(accessKeyFile, secretKeyFile, securityTokenFile string) CredentialSource {
	paths := []string{accessKeyFile, secretKeyFile}
	if securityTokenFile != "" {
		paths = append(paths, securityTokenFile)
	}
	return &fileCredentials{watched{paths: paths}}
}

type fileCredentials struct{ files watched }

// Credentials implements [CredentialSource].
func (s *fileCredentials) Credentials(context.Context) (Credentials, error) {
	contents, err := s.files.values()
	if err != nil {
		return Credentials{}, fmt.Errorf("credential files: %w", err)
	}
	c := Credentials{AccessKey: contents[0].Reveal(), SecretKey: contents[1]}
	if len(contents) > 2 {
		c.SecurityToken = contents[2]
	}
	return c, nil
}

// Invalidate has the files read again even if they seem unchanged.
func (s *fileCredentials) Invalidate() { s.files.invalidate() }

// TokenFile reads an IAM token, sent as X-Auth-Token, from a file, and reads
// it anew when the file changes. Whoever writes the file renews it: a token is
// valid for 24 hours at most.
func TokenFile(path string) CredentialSource {
	return &tokenFile{watched{paths: []string{path}}}
}

type tokenFile struct{ files watched }

// Credentials implements [CredentialSource].
func (s *tokenFile) Credentials(context.Context) (Credentials, error) {
	contents, err := s.files.values()
	if err != nil {
		return Credentials{}, fmt.Errorf("token file: %w", err)
	}
	return tokenCredentials(contents[0].Reveal())
}

// Invalidate has the file read again even if it seems unchanged.
func (s *tokenFile) Invalidate() { s.files.invalidate() }

// watched are files that belong together. They are read anew when one of them
// has another modification time, size or inode.
type watched struct {
	paths []string

	mu       sync.Mutex
	stamps   []fs.FileInfo
	contents []Secret // whatever prints a source must not print them
}

// invalidate forgets what was read.
func (w *watched) invalidate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stamps = nil
}

// values returns the contents of the files; none may be empty.
func (w *watched) values() ([]Secret, error) {
	contents, err := w.read()
	if err != nil {
		return nil, err
	}
	for i, content := range contents {
		if content.Empty() {
			return nil, fmt.Errorf("%s is empty", w.paths[i])
		}
	}
	return contents, nil
}

// read returns the contents of the files, without the space around them.
func (w *watched) read() ([]Secret, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamps, err := stampAll(w.paths)
	if err != nil {
		return nil, err
	}
	// Files that change while they are read might not belong together.
	for tries := 0; !sameFiles(stamps, w.stamps); tries++ {
		if tries == 3 {
			return nil, fmt.Errorf("%s keeps changing while it is read", strings.Join(w.paths, ", "))
		}
		if w.contents, err = readAll(w.paths); err != nil {
			w.stamps = nil
			return nil, err
		}
		w.stamps = stamps
		if stamps, err = stampAll(w.paths); err != nil {
			return nil, err
		}
	}
	return w.contents, nil
}

// stampAll looks at what files there are now.
func stampAll(paths []string) ([]fs.FileInfo, error) {
	stamps := make([]fs.FileInfo, 0, len(paths))
	for _, path := range paths {
		if path == "" {
			return nil, errors.New("no path is given")
		}
		stamp, err := os.Stat(path)
		if err == nil {
			err = checkKeyMode(path, stamp)
		}
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp)
	}
	return stamps, nil
}

// sameFiles reports whether nothing seems to have changed.
func sameFiles(a, b []fs.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// readAll reads the files, each bounded.
func readAll(paths []string) ([]Secret, error) {
	contents := make([]Secret, 0, len(paths))
	for _, path := range paths {
		content, err := readFile(path)
		if err != nil {
			return nil, err
		}
		contents = append(contents, NewSecret(strings.TrimSpace(content)))
	}
	return contents, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxCredentialFile+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	if len(data) > maxCredentialFile {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxCredentialFile)
	}
	return string(data), nil
}
