package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const standing = `Warning a/DaemonSet/agent ImageViolation: 2 pods violate policy p (Deny): container "app": bad:1 — severity High, allowed Medium`

// newViolation is a cluster in which two pods of one DaemonSet run a bad image.
func newViolation(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, openReport)
	c.verdicts["bad:1"] = c.high()
	c.run("a", "agent-x", "bad:1", ownedBy("apps/v1", "DaemonSet", "agent"))
	c.run("a", "agent-y", "bad:1", ownedBy("apps/v1", "DaemonSet", "agent"))
	return c
}

func TestOneEventForEachWorkloadAndPolicy(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.audits(t)
	if diff := cmp.Diff([]string{standing}, c.events(t)); diff != "" {
		t.Fatal(diff)
	}

	for _, step := range []struct {
		name, note string
		wait       time.Duration
		want       bool
	}{
		{"it is written again when it changes", "severity High, allowed Low", 0, true},
		{"and not when it does not", "severity High, allowed Low", 0, false},
		{"but before the API server forgets it", "severity High, allowed Low", 30 * time.Minute, true},
	} {
		c.clock.Step(step.wait)
		c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, step.note)
		c.written()
		c.audits(t)
		if got := slices.ContainsFunc(c.written(), func(w string) bool { return strings.HasPrefix(w, "apply event") }); got != step.want {
			t.Errorf("%s: written: %t", step.name, got)
		}
		var list corev1.EventList
		if err := c.WithWatch.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		if e := list.Items[0]; !strings.HasSuffix(e.Message, step.note) || !e.LastTimestamp.Time.Equal(c.clock.Now()) {
			t.Errorf("%s: %s has %s", step.name, e.Message, e.LastTimestamp)
		}
	}
}

func TestAnEventIsWrittenAsLongAsPodsViolate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*cluster){
		"not when the image is good again":       func(c *cluster) { clear(c.verdicts) },
		"not when the pods are gone":             func(c *cluster) { c.pods = nil },
		"not when an exception allows the image": func(c *cluster) { v := c.high(); v.PodEffect = "Excepted"; c.verdicts["bad:1"] = v },
		"not when it is unknown whether they violate": func(c *cluster) {
			c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newViolation(t)
			change(c)
			c.audits(t)
			if got := c.events(t); got != nil {
				t.Errorf("written: %v", got)
			}
		})
	}
}

func TestEventsAreBoundedForEachNamespaceAndInTheQueue(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.verdicts["bad:1"] = c.high()
	for n := range 60 {
		c.run("a", fmt.Sprintf("pod-%d", n), "bad:1")
	}
	c.run("b", "pod", "bad:1")
	c.audits(t)
	if got := len(c.events(t)); got != 51 {
		t.Errorf("%d Events, want 50 and 1", got)
	}

	t.Log("an audit waits for no Event, and leaves to the next one what the queue has no room for")
	for n := range 45 {
		name := fmt.Sprintf("team-%d", n)
		if err := c.Create(t.Context(), namespace(name)); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			c.run(name, fmt.Sprintf("pod-%d", i), "bad:1")
		}
	}
	if err := c.Audit(t.Context(), "no Event is written meanwhile"); err != nil {
		t.Fatal(err)
	}
	if got := c.status(t).Violations; got != 61+45*50 {
		t.Errorf("%d violations", got)
	}
	if got := c.QueuedEvents(); got != 2000 {
		t.Errorf("%d Events are queued, want as many as there is room for", got)
	}
}

func TestAnEventThatCannotBeWrittenFailsNoAudit(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.fail = func(_, object string) error {
		if strings.Contains(object, "event") {
			return errors.New("forbidden")
		}
		return nil
	}
	if got := c.audits(t); got.Violations != 2 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(c.log.String(), "an Event was not written") {
		t.Errorf("the log says nothing: %s", c.log.String())
	}
	c.fail = func(string, string) error { return nil }
	c.audits(t)
	if diff := cmp.Diff([]string{standing}, c.events(t)); diff != "" {
		t.Errorf("it isn't tried again: %s", diff)
	}
}
