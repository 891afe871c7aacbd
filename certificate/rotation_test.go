package certificate_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/hssgate/hssgate/certificate"
)

// rotation is one whose times are easily told apart.
func rotation() certificate.Rotation {
	return certificate.Rotation{Lifetime: 90 * 24 * time.Hour, Propagation: time.Minute, Retirement: 24 * time.Hour}
}

const day = 24 * time.Hour

func TestNext(t *testing.T) {
	t.Parallel()
	current, next, previous := newRoot(t, start, 90*day), newRoot(t, start.Add(60*day), 90*day), newRoot(t, start.Add(-60*day), 90*day)
	tests := map[string]struct {
		at       time.Duration
		state    certificate.State
		want     certificate.Step
		wantWait time.Duration
	}{
		"the first one is made":                       {0, state(nil, nil, nil), certificate.StepCreate, 0},
		"one with two thirds of its life left stays":  {30 * day, state(current, nil, nil), certificate.StepNone, 30 * day},
		"the next one is made when a third is left":   {60 * day, state(current, nil, nil), certificate.StepPrepare, 0},
		"the next one waits until it's trusted":       {60 * day, state(current, next, nil), certificate.StepNone, 30 * day},
		"the next one waits until trust has spread":   {60*day + 30*time.Second, trusted(state(current, next, nil), 60*day), certificate.StepNone, 30 * time.Second},
		"the next one is used when trust has spread":  {60*day + time.Minute, trusted(state(current, next, nil), 60*day), certificate.StepPromote, 0},
		"the previous one stays for a while":          {2 * time.Hour, promoted(state(current, nil, previous), time.Hour), certificate.StepNone, 23 * time.Hour},
		"the previous one goes after a while":         {25 * time.Hour, promoted(state(current, nil, previous), time.Hour), certificate.StepRetire, 0},
		"one that has expired is replaced at once":    {90 * day, state(current, nil, nil), certificate.StepCreate, 0},
		"of an expired one the next is used, trusted": {90 * day, state(current, next, nil), certificate.StepPromote, 0},
		"if someone asks, the next one is made":       {0, requested(state(current, nil, nil)), certificate.StepPrepare, 0},
		"if someone asks, another next one is made":   {60 * day, requested(state(current, next, nil)), certificate.StepPrepare, 0},
		"a next one that has grown old is replaced":   {120 * day, state(newRoot(t, start.Add(60*day), 90*day), next, nil), certificate.StepPrepare, 0},
		"the next one is used before the last goes":   {61 * day, trusted(promoted(state(current, next, previous), 0), 60*day), certificate.StepPromote, 0},
		"both are waited for, the first first":        {60 * day, promoted(trusted(state(current, next, previous), 60*day), 59*day+time.Hour), certificate.StepNone, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots, step, wait, err := rotation().Next(start.Add(tt.at), tt.state)
			if err != nil {
				t.Fatal(err)
			}
			if step != tt.want || wait != tt.wantWait {
				t.Errorf("got step %q and %s, want %q and %s", step, wait, tt.want, tt.wantWait)
			}
			checkStep(t, step, tt.state.Roots, roots)
		})
	}
}

func state(current, next, previous *certificate.Root) certificate.State {
	s := certificate.State{Roots: &certificate.Roots{Current: current, Next: next}}
	if previous != nil {
		s.Roots.Previous = previous.PEM()
	}
	return s
}

func trusted(s certificate.State, since time.Duration) certificate.State {
	s.TrustedSince = start.Add(since)
	return s
}

func promoted(s certificate.State, at time.Duration) certificate.State {
	s.PromotedAt = start.Add(at)
	return s
}

func requested(s certificate.State) certificate.State {
	s.Requested = true
	return s
}

// checkStep checks what each step does, and that none takes the trust from what
// may be in use.
func checkStep(t *testing.T, step certificate.Step, before, after *certificate.Roots) {
	t.Helper()
	switch step {
	case certificate.StepNone:
		if after != before {
			t.Error("the roots are others")
		}
	case certificate.StepCreate:
		if after.Current == nil || after.Current.Equal(before.Current) || after.Next != nil {
			t.Errorf("got %v", after)
		}
	case certificate.StepPrepare:
		if !after.Current.Equal(before.Current) || after.Next == nil || after.Next.Equal(before.Next) || !bytes.Equal(after.Previous, before.Previous) {
			t.Errorf("got %v", after)
		}
	case certificate.StepPromote:
		if !after.Current.Equal(before.Next) || after.Next != nil || !bytes.HasSuffix(after.Previous, before.Current.PEM()) {
			t.Errorf("got %v", after)
		}
	case certificate.StepRetire:
		if !after.Current.Equal(before.Current) || !after.Next.Equal(before.Next) || len(after.Previous) > 0 {
			t.Errorf("got %v", after)
		}
	}
}

// TestAYearOfRotations lets time pass in steps that Next itself asks for.
func TestAYearOfRotations(t *testing.T) {
	t.Parallel()
	now, s := start, state(nil, nil, nil)
	steps := map[certificate.Step]int{}
	var trust certificate.Trust
	for now.Before(start.AddDate(1, 0, 0)) {
		roots, step, wait, err := rotation().Next(now, s)
		if err != nil {
			t.Fatal(err)
		}
		steps[step]++
		if step == certificate.StepPromote || step == certificate.StepCreate {
			s.PromotedAt = now
		}
		trust.Observe(now, bytes.Join(roots.PEMs(), nil))
		s.Roots = roots
		s.TrustedSince, _ = trust.Since(roots.Next)
		if !roots.Current.ValidAt(now) {
			t.Fatalf("at %s the authority in use isn't valid", now)
		}
		now = now.Add(wait)
	}
	want := map[certificate.Step]int{certificate.StepCreate: 1, certificate.StepPrepare: 6, certificate.StepPromote: 6, certificate.StepRetire: 6}
	for step, n := range want {
		if steps[step] != n {
			t.Errorf("%q: %d times, want %d", step, steps[step], n)
		}
	}
}

func TestThoseBeforeAreBounded(t *testing.T) {
	t.Parallel()
	s := trusted(state(newRoot(t, start, 90*day), newRoot(t, start, 90*day), nil), 0)
	for range 10 {
		roots, step, _, err := rotation().Next(start.Add(time.Hour), s)
		if err != nil || step != certificate.StepPromote {
			t.Fatalf("step %q: %v", step, err)
		}
		s.Roots = &certificate.Roots{Current: roots.Current, Next: newRoot(t, start, 90*day), Previous: roots.Previous}
	}
	if got := len(s.Roots.PEMs()); got != 6 {
		t.Errorf("%d are trusted, want 6: the next, the current and four before", got)
	}
}
