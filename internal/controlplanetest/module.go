package controlplanetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// moduleLine tells hssgate's go.mod from those of the modules below it.
const moduleLine = "module github.com/hssgate/hssgate\n"

// moduleRoot returns the folder of hssgate's go.mod, looking upwards from the
// working directory: that of a test is its package's folder.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil && bytes.HasPrefix(content, []byte(moduleLine)):
			return dir, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		case dir == filepath.Dir(dir):
			return "", fmt.Errorf("%s is in no checkout of github.com/hssgate/hssgate", start)
		}
	}
}
