package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/inventory"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	_, err := inventory.New(inventory.Options{})
	if err == nil || err.Error() != "inventory needs a configuration" {
		t.Errorf("without a configuration: %v", err)
	}
	var problems *config.Error
	if _, err = inventory.New(inventory.Options{Config: config.Default()}); !errors.As(err, &problems) {
		t.Errorf("with an invalid one: %v", err)
	}
	_, err = inventory.New(inventory.Options{Config: settings()})
	if err == nil || err.Error() != `project "bj4" has no client` {
		t.Errorf("without a client: %v", err)
	}
}

func TestNewClientsNamesEveryProjectThatFails(t *testing.T) {
	t.Parallel()
	empty := write(t, "empty.pem", "nothing")
	c := settings()
	c.Projects = nil
	for n, ca := range []string{"", filepath.Join(t.TempDir(), "none.pem"), empty} {
		p := config.DefaultProject()
		p.Name, p.Region, p.CAFile = fmt.Sprintf("p%d", n), "cn-north-4", ca
		c.Projects = append(c.Projects, p)
	}
	clients, err := inventory.NewClients(c, "test")
	if err == nil || clients != nil {
		t.Fatalf("got %v, %v", clients, err)
	}
	for _, want := range []string{`project "p1": reading caFile: `, `project "p2": caFile ` + empty + " holds no PEM certificate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "p0") {
		t.Errorf("got %v", err)
	}
}

func TestNewClientsTakesEverySourceOfCredentials(t *testing.T) {
	t.Parallel()
	for _, credentials := range []config.Credentials{
		{Source: config.SourceDefault},
		{Source: config.SourceEnvironment},
		{Source: config.SourceProfile},
		{Source: config.SourceFiles, AccessKeyFile: "/ak", SecretKeyFile: "/sk"},
		{Source: config.SourceMetadata},
		{Source: config.SourcePodIdentity},
		{Source: config.SourceTokenFile, TokenFile: "/t"},
		{Source: config.SourceTokenEnvironment, TokenVariable: "T"},
	} {
		c := settings(func(c *config.Configuration) { c.Projects[0].Credentials = credentials })
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", credentials.Source, err)
		}
		if clients, err := inventory.NewClients(c, "test"); err != nil || clients["bj4"] == nil {
			t.Errorf("%s: got %v, %v", credentials.Source, clients, err)
		}
	}
	c := settings(func(c *config.Configuration) { c.Projects[0].Credentials.Source = "Magic" })
	if _, err := inventory.NewClients(c, "test"); err == nil || !strings.Contains(err.Error(), `unknown source of credentials "Magic"`) {
		t.Errorf("got %v", err)
	}
}

// notes is an observer that remembers.
type notes struct {
	mu   sync.Mutex
	seen []string
}

func (n *notes) Looked(registry string, outcome inventory.Outcome) {
	n.add("looked " + registry + " " + string(outcome))
}

func (n *notes) Asked(_ context.Context, project string, took time.Duration, err error) {
	n.add(fmt.Sprintf("asked %s %s failed=%t", project, took, err != nil))
}

func (n *notes) Listed(project string, outcome inventory.Outcome) {
	n.add(fmt.Sprintf("listed %s %s", project, outcome))
}

func (n *notes) AskedVulnerabilities(_ context.Context, project string, took time.Duration, err error) {
	n.add(fmt.Sprintf("asked vulnerabilities %s %s %t", project, took, err == nil))
}

func (n *notes) Credentials(project, refused string) {
	n.add("credentials " + project + " " + refused)
}

func (n *notes) Breaker(project string, state inventory.BreakerState) {
	n.add("breaker " + project + " " + string(state))
}

func (n *notes) Synced(project string, s inventory.Synchronisation) {
	n.add(fmt.Sprintf("synced %s full=%t rows=%d failed=%t", project, s.Full, s.Rows, s.Err != nil))
}

// only is what was seen of one kind.
func (n *notes) only(kind string) (seen []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.seen {
		if strings.HasPrefix(s, kind+" ") {
			seen = append(seen, s)
		}
	}
	return seen
}

func (n *notes) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, s)
}

func TestTheObserverIsToldEverything(t *testing.T) {
	t.Parallel()
	f, seen, clock := &fake{}, &notes{}, clocktesting.NewFakeClock(time.Unix(100_000, 0))
	f.set(nil, row())
	i, err := inventory.New(inventory.Options{
		Config: settings(), Clients: map[string]inventory.Lister{"bj4": f}, Clock: clock, Observer: seen,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	i.Facts(t.Context(), reference(t, app))
	i.Facts(t.Context(), reference(t, app))
	i.Facts(t.Context(), reference(t, "nginx"))
	clock.Step(time.Hour)
	f.set(errors.New("down"))
	i.Facts(t.Context(), reference(t, app))
	i.Facts(t.Context(), reference(t, "swr.example.com/prod/other"))
	want := []string{
		"asked bj4 0s failed=false", "looked swr miss", "looked swr hit", "looked  unclaimed",
		"asked bj4 0s failed=true", "looked swr stale", "asked bj4 0s failed=true", "looked swr unavailable",
	}
	if d := cmp.Diff(want, slices.Clone(seen.seen)); d != "" {
		t.Error(d)
	}
}
