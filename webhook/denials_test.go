package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func newDenial(name string) *gate.Decision {
	violation := func(effect v1alpha1.Enforcement, ref string) gate.Violation {
		return gate.Violation{
			Use: image.Use{Place: image.PlaceContainer, Name: "app", Image: ref}, Reference: ref, Policy: "p", Effect: effect, PodEffect: effect,
			Findings: []policy.Finding{{Check: policy.CheckSeverityLevel, Message: "severity High"}},
		}
	}
	return &gate.Decision{
		Kind: "Pod", Namespace: "team", Name: name, Outcome: gate.Denied, Policies: []string{"p"},
		Violations: []gate.Violation{violation("Deny", "r.io/bad:1"), violation("Deny", "r.io/bad:1"), violation("Warn", "r.io/odd:1")},
	}
}

func ownedBy(kind, name string) *request {
	r := &request{UID: "1"}
	r.UserInfo.Username = "controller"
	r.Object.Metadata.Controller = image.Controller{Kind: kind, Name: name}
	return r
}

// logged returns the lines of a log in JSON without the time.
func logged(t *testing.T, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for decoder := json.NewDecoder(log); decoder.More(); {
		var line map[string]any
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		delete(line, "time")
		lines = append(lines, line)
	}
	return lines
}

func TestADenialIsOneLine(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := NewHandler(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	h.logDenial(ownedBy("ReplicaSet", "web-1"), newDenial("web-1-*"))
	line := `container "app": r.io/bad:1 — severity High [policy p]`
	want := []map[string]any{{
		"level": "INFO", "msg": "denied", "outcome": "Denied", "kind": "Pod", "namespace": "team", "name": "web-1-*", "owner": "ReplicaSet/web-1",
		"uid": "1", "user": "controller", "images": []any{"r.io/bad:1"}, "policies": []any{"p"},
		"violations":    []any{"Deny: " + line, "Deny: " + line, `Warn: container "app": r.io/odd:1 — severity High [policy p]`},
		"dryRunRequest": false, "dryRun": false, "repeats": 0.0,
	}}
	if diff := cmp.Diff(want, logged(t, &log)); diff != "" {
		t.Error(diff)
	}
}

func TestRepeatedDenialsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := NewHandler(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
		for n := range 90 {
			// The API server gives each pod a name of its own.
			h.logDenial(ownedBy("ReplicaSet", "web-1"), newDenial(fmt.Sprintf("web-1-%d", n)))
			time.Sleep(time.Second)
		}
		lines := logged(t, &log)
		if len(lines) != 2 || lines[0]["repeats"] != 0.0 || lines[1]["repeats"] != 59.0 {
			t.Fatalf("got %v, want two lines, the second with 59 repeats", lines)
		}
		h.logDenial(ownedBy("ReplicaSet", "web-2"), newDenial("web-2-x"))
		other := newDenial("web-1-x")
		other.Violations = other.Violations[:1]
		h.logDenial(ownedBy("ReplicaSet", "web-1"), other)
		if got := len(logged(t, &log)); got != 2 {
			t.Errorf("%d lines of another owner and of other findings, want 2", got)
		}
	})
}

// While HSS is down, what it says differs each time: it names the request.
func TestDenialsThatDifferOnlyInWordsAreOne(t *testing.T) {
	t.Parallel()
	unavailable := func(n int, change ...func(*policy.Finding)) *gate.Decision {
		d := newDenial("web-1-x")
		d.Outcome = gate.Unavailable
		for i := range d.Violations {
			f := policy.Finding{Check: policy.CheckUnavailable, Message: fmt.Sprintf("HSS answered 503 (request r-%d)", n)}
			for _, c := range change {
				c(&f)
			}
			d.Violations[i].Findings = []policy.Finding{f}
		}
		return d
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := NewHandler(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
		for n := range 30 {
			h.logDenial(ownedBy("ReplicaSet", "web-1"), unavailable(n))
			time.Sleep(2 * time.Second)
		}
		if lines := logged(t, &log); len(lines) != 1 {
			t.Errorf("%d lines in a minute, want 1: %v", len(lines), lines)
		}
		h.logDenial(ownedBy("ReplicaSet", "web-1"), unavailable(30))
		if lines := logged(t, &log); len(lines) != 1 || lines[0]["repeats"] != 29.0 {
			t.Errorf("got %v, want a line with 29 repeats", lines)
		}
		for name, d := range map[string]*gate.Decision{
			"another check":   unavailable(0, func(f *policy.Finding) { f.Check = policy.CheckNotScanned }),
			"another policy":  changed(unavailable(0), func(v *gate.Violation) { v.Policy = "q" }),
			"another image":   changed(unavailable(0), func(v *gate.Violation) { v.Reference = "r.io/worse:1" }),
			"another place":   changed(unavailable(0), func(v *gate.Violation) { v.Use.Name = "side" }),
			"another effect":  changed(unavailable(0), func(v *gate.Violation) { v.Effect = "Warn" }),
			"another finding": changed(unavailable(0), func(v *gate.Violation) { v.Findings = append(v.Findings, policy.Finding{Check: policy.CheckDigest}) }),
		} {
			h.logDenial(ownedBy("ReplicaSet", "web-1"), d)
			if lines := logged(t, &log); len(lines) != 1 {
				t.Errorf("%s: %d lines, want 1", name, len(lines))
			}
		}
	})
}

// changed changes the first violation.
func changed(d *gate.Decision, change func(*gate.Violation)) *gate.Decision {
	change(&d.Violations[0])
	return d
}

func TestWhatIsAdmittedIsNoDenial(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := NewHandler(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	d := newDenial("web")
	d.Outcome = gate.Admitted
	h.logDenial(&request{}, d)
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
}

func TestDenialsThatAreRememberedAreBounded(t *testing.T) {
	t.Parallel()
	var d denials
	now := time.Now()
	for n := range maxDenials + 10 {
		if _, log := d.note(now, fmt.Sprint(n)); !log {
			t.Fatalf("denial %d was not logged", n)
		}
	}
	if len(d.last) > maxDenials {
		t.Errorf("%d are remembered, want %d at most", len(d.last), maxDenials)
	}
	for n := range maxDenials {
		d.note(now.Add(time.Hour), "later", fmt.Sprint(n))
	}
	if len(d.last) != maxDenials {
		t.Errorf("%d are remembered, want %d: what is old makes room first", len(d.last), maxDenials)
	}
}

func TestDenialsOfEverNewNamesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := NewHandler(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
		for n := range 10_000 {
			h.logDenial(&request{UID: "1"}, newDenial(fmt.Sprint("web-", n)))
		}
		if n := len(logged(t, &log)); n > 200 {
			t.Errorf("10,000 denials at one moment are %d lines", n)
		}
		time.Sleep(time.Second)
		h.logDenial(&request{UID: "1"}, newDenial("another"))
		if lines := logged(t, &log); len(lines) != 1 || lines[0]["notLogged"] != 9800.0 {
			t.Errorf("got %v, want a line that counts 9,800", lines)
		}
	})
}
