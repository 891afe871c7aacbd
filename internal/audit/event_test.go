package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	standing = `Warning a/DaemonSet/agent ImageViolation: 2 pods violate policy p (Deny): container "app": bad:1 — severity High, allowed Medium`
	resolved = `Normal a/DaemonSet/agent ImageViolationResolved: none of its pods violates policy p any more`
)

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
	c.written()

	t.Log("what has not changed is not written again")
	c.clock.Step(10 * time.Minute)
	c.audits(t)
	if got := c.written(); got != nil {
		t.Errorf("written: %v", got)
	}

	t.Log("it is before the API server forgets it")
	c.clock.Step(35 * time.Minute)
	c.audits(t)
	if got := c.written(); len(got) != 1 || !strings.HasPrefix(got[0], "apply event a/agent.hssgate-") {
		t.Errorf("written: %v", got)
	}
	var list corev1.EventList
	if err := c.WithWatch.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	if got := list.Items[0].LastTimestamp.Time; !got.Equal(now.Add(45 * time.Minute)) {
		t.Errorf("the last time is %s", got)
	}

	t.Log("what changes is")
	c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, "severity High, allowed Low")
	c.audits(t)
	if diff := cmp.Diff([]string{strings.ReplaceAll(standing, "Medium", "Low")}, c.events(t)); diff != "" {
		t.Error(diff)
	}
}

func TestAnEventIsResolved(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*cluster)
		want   string
	}{
		"when the image is good again":       {func(c *cluster) { clear(c.verdicts) }, resolved},
		"when the pods are gone":             {func(c *cluster) { c.pods = nil }, resolved},
		"when an exception allows the image": {func(c *cluster) { v := c.verdicts["bad:1"]; v.PodEffect = "Excepted"; c.verdicts["bad:1"] = v }, resolved},
		"but not while HSS is unreachable": {func(c *cluster) {
			c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")
		}, standing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newViolation(t)
			c.audits(t)
			tt.change(c)
			c.audits(t)
			if diff := cmp.Diff([]string{tt.want}, c.events(t)); diff != "" {
				t.Error(diff)
			}
			c.written()
			c.audits(t)
			for _, write := range c.written() {
				if strings.Contains(write, "event") {
					t.Errorf("written again: %s", write)
				}
			}
		})
	}
}

func TestAnotherLeaderFindsTheEvent(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.audits(t)
	next := newViolation(t)
	next.WithWatch, next.Live, next.Client = c.WithWatch, c.Live, c.Client
	next.clock.Step(time.Hour)
	next.audits(t)
	if diff := cmp.Diff([]string{standing}, c.events(t)); diff != "" {
		t.Error(diff)
	}
	t.Log("and writes it anew if it has been forgotten")
	if err := c.DeleteAllOf(t.Context(), &corev1.Event{}, client.InNamespace("a")); err != nil {
		t.Fatal(err)
	}
	next.clock.Step(time.Hour)
	next.audits(t)
	if diff := cmp.Diff([]string{standing}, c.events(t)); diff != "" {
		t.Error(diff)
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
	c.audits(t)
	if got := len(c.events(t)); got != 61 {
		t.Errorf("%d Events after the second audit, want all 61", got)
	}

	t.Log("an audit waits for no Event: what the queue has no room for, a later audit queues")
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
	if got := len(c.events(t)); got != 61 || c.status(t).Violations != 61+45*50 {
		t.Errorf("%d Events and %d violations after an audit", got, c.status(t).Violations)
	}
	c.WriteEvents(t.Context())
	if got := len(c.events(t)); got != 61+2000 {
		t.Errorf("%d Events from a full queue, want 2000 more", got)
	}
	c.audits(t)
	if got := len(c.events(t)); got != 61+45*50 {
		t.Errorf("%d Events after the next audit, want all", got)
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
	c.fail = nil
	c.audits(t)
	if diff := cmp.Diff([]string{standing}, c.events(t)); diff != "" {
		t.Errorf("it isn't tried again: %s", diff)
	}
}
