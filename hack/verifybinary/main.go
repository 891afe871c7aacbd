// Command verifybinary checks that a release binary is one static file below a
// size, without test code: it may run in an image that holds nothing else.
//
//	go run ./hack/verifybinary -max-mib 76 bin/hssgate
package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"os"
)

const mebibyte = 1 << 20

func main() {
	maxMiB := flag.Int64("max-mib", 76, "largest allowed size in MiB; 76 is just under 80 MB")
	flag.Parse()
	for _, path := range flag.Args() {
		size, err := verify(path, *maxMiB*mebibyte)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%s is static and has %.1f MB\n", path, float64(size)/1e6)
	}
}

// verify returns the size of the ELF file at path in bytes, or an error if it
// has more than limit bytes or needs a dynamic loader or a shared library.
func verify(path string, limit int64) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if info.Size() > limit {
		return 0, fmt.Errorf("%s has %d bytes, allowed are %d", path, info.Size(), limit)
	}
	if err := verifyNoTestCode(path); err != nil {
		return 0, err
	}
	return info.Size(), verifyStatic(path)
}

// verifyNoTestCode looks for the names of functions, which stay in a stripped
// binary.
func verifyNoTestCode(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, name := range []string{"testing.(*T)", "net/http/httptest", "k8s.io/client-go/testing", "controller-runtime/pkg/envtest", "hss/hsstest"} {
		if bytes.Contains(data, append([]byte(name), '.')) {
			return fmt.Errorf("%s contains test code: a function of %s", path, name)
		}
	}
	return nil
}

func verifyStatic(path string) (err error) {
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is no Linux binary: %w", path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is dynamically linked: it names a loader", path)
		}
	}
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(libraries) > 0 {
		return fmt.Errorf("%s is dynamically linked: it needs %q", path, libraries)
	}
	return nil
}
