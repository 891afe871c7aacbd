package otlp

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHeaders bounds a file of headers.
const maxHeaders = 64 << 10

// headersFile returns what reads the headers of a file, each time anew: a token
// in it may be replaced. No error repeats what stands in the file.
func headersFile(path string) func() (http.Header, error) {
	return func() (http.Header, error) {
		if path == "" {
			return http.Header{}, nil
		}
		data, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			return nil, fmt.Errorf("read headersFile: %w", err)
		}
		headers, err := parseHeaders(data)
		if err != nil {
			return nil, fmt.Errorf("headersFile %s: %w", path, err)
		}
		return headers, nil
	}
}

// parseHeaders reads one header a line, as "Name: value". Empty lines and those
// that begin with # count for nothing.
func parseHeaders(data []byte) (http.Header, error) {
	if len(data) > maxHeaders {
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", len(data), maxHeaders)
	}
	headers := http.Header{}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, found := strings.Cut(text, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("line %d: %w", n, errHeader)
		}
		headers.Add(name, value)
	}
	return headers, nil
}

var errHeader = errors.New(`it must be a header, such as "Authorization: Bearer …"`)
