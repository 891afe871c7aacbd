package hss

import (
	"fmt"
	"io/fs"
	"os"
)

// The permissions that a file with a key or a token must not have, and those
// that make it known to every user of the machine.
const (
	writableByOthers = 0o022
	readableByAll    = 0o004
)

// CheckKeyFile refuses a file with a key or a token that others than its owner
// can write: whoever can may choose the identity that is used. It reports
// whether every user of the machine can read the file.
func CheckKeyFile(path string) (readable bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return info.Mode().Perm()&readableByAll != 0, checkKeyMode(path, info)
}

func checkKeyMode(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&writableByOthers != 0 {
		return fmt.Errorf("%s has mode %04o, by which others can write it; allowed are modes such as 0400, 0440 and 0600: chmod go-w %[1]s", path, mode)
	}
	return nil
}
