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
	cmd := newCommand()
	cmd.SetArgs(append([]string{"--inventory", "../../config/samples/inventory.yaml", "--listen", "127.0.0.1:0"}, flags...))
	cmd.SetOut(out)
	cmd.SetErr(io.Discard)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
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

func TestTheSimulatorServesUntilItIsStopped(t *testing.T) {
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

func TestTheSimulatorPrintsItsURL(t *testing.T) {
	for name, tt := range map[string]struct {
		flags []string
		want  string
	}{
		"over HTTP":                     {nil, "http://127.0.0.1:"},
		"over TLS":                      {[]string{"--tls-self-signed"}, "https://127.0.0.1:"},
		"with an access key of its own": {[]string{"--access-key", "AK", "--secret-key", "SK-of-the-test"}, "http://127.0.0.1:"},
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

func TestWrongFlagsAreErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"without inventory":               {nil, "--inventory is required"},
		"with half a certificate":         {[]string{"--inventory", "x", "--tls-cert", "y"}, "--tls-cert and --tls-key must be given together"},
		"with two certificates":           {[]string{"--inventory", "x", "--tls-cert", "y", "--tls-key", "z", "--tls-self-signed"}, "exclude each other"},
		"with a CA file of no use":        {[]string{"--inventory", "x", "--ca-file", "y"}, "--ca-file needs --tls-self-signed"},
		"with half a credential":          {[]string{"--inventory", "x", "--access-key", "y"}, "--access-key and --secret-key must be given together"},
		"with a negative latency":         {[]string{"--inventory", "x", "--latency", "-1s"}, "must not be negative"},
		"with a latency without a unit":   {[]string{"--inventory", "x", "--latency", "5"}, "--latency"},
		"with an argument":                {[]string{"now"}, `"now"`},
		"with an inventory that is none":  {[]string{"--inventory", "no-such.yaml"}, "no-such.yaml"},
		"with an address that is none":    {[]string{"--inventory", "../../config/samples/inventory.yaml", "--listen", "nowhere"}, "listen: "},
		"with a CA file in a missing dir": {[]string{"--inventory", "../../config/samples/inventory.yaml", "--tls-self-signed", "--ca-file", "no/such/ca.crt"}, "no/such/ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := newCommand()
			cmd.SetArgs(tt.args)
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q in it", err, tt.want)
			}
		})
	}
}
