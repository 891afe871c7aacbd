package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// lines gives each line that is written to it.
type lines struct {
	mu   sync.Mutex
	text string
	seen chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	select {
	case l.seen <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// simulate serves the samples until the function that it returns is called,
// and returns what was printed by then.
func simulate(t *testing.T, flags ...string) (printed string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{seen: make(chan struct{}, 1)}
	root := newRootCommand()
	root.SetArgs(append([]string{"simulate", "--inventory", "../../config/samples/inventory.yaml", "--listen", "127.0.0.1:0"}, flags...))
	root.SetOut(out)
	root.SetErr(io.Discard)
	ended := make(chan error, 1)
	go func() { ended <- execute(ctx, root) }()
	select {
	case <-out.seen:
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	}
	return out.String(), func() error {
		cancel()
		return <-ended
	}
}

func TestSimulateServesUntilItIsStopped(t *testing.T) {
	printed, stop := simulate(t, "--no-auth", "--requests-per-second", "100", "--substring-matching")
	url := regexp.MustCompile(`http://\S+`).FindString(printed)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v5/p1/image/registries/images?image_name=clea", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(body), `"total_num":1`) {
		t.Errorf("got %s, %v", body, err)
	}
	if err := stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestSimulateSaysWhereItIs(t *testing.T) {
	for name, tt := range map[string]struct {
		flags []string
		want  string
	}{
		"over HTTP":               {nil, "http://127.0.0.1:"},
		"over TLS":                {[]string{"--tls-self-signed"}, "https://127.0.0.1:"},
		"with a key of one's own": {[]string{"--access-key", "AK", "--secret-key", "SK-of-the-test"}, "http://127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			printed, stop := simulate(t, tt.flags...)
			if !strings.Contains(printed, tt.want) || strings.Contains(printed, "SK-of-the-test") {
				t.Errorf("got %q, want %q in it and no secret", printed, tt.want)
			}
			if err := stop(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
