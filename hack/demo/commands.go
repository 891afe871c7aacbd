package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/doctor"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/scan"
	"github.com/hssgate/hssgate/internal/whohas"
)

// hurried is a clock that jumps ahead when someone waits for it.
type hurried struct{ *clocktesting.FakeClock }

func (c hurried) After(d time.Duration) <-chan time.Time {
	defer c.Step(d)
	return c.FakeClock.After(d)
}

// commands returns what other commands show of an HSS that has the samples' inventory and a behavior of its own.
func (s *sampleSet) commands(ctx context.Context) (string, error) {
	clock, behavior := hurried{clocktesting.NewFakeClock(time.Now())}, hsstest.Behavior{Architectures: "rows", Digests: "bare", Filters: "substring"}
	simulator := hsstest.NewServer(hsstest.WithInventory(s.inventory), hsstest.WithBehavior(behavior), hsstest.WithClock(clock.Now)) //nolint:contextcheck // like httptest, hsstest ends with Close
	defer simulator.Close()
	if err := s.useHSS(simulator.URL); err != nil {
		return "", err
	}
	known, err := check.NewInventory(s.config, "hssgate-demo", false)
	if err != nil {
		return "", err
	}
	defer known.Close()
	examined, doctorErr := s.doctor(ctx, behavior)
	scanned, scanErr := s.scan(ctx, known, clock)
	return s.whoHas(ctx, known) + examined + scanned, errors.Join(doctorErr, scanErr)
}

// whoHas shows which images have the first CVE of the inventory that is a part of an advisory.
func (s *sampleSet) whoHas(ctx context.Context, known *inventory.Inventory) (text string) {
	id := ""
	for i := range s.inventory.Images {
		for _, v := range s.inventory.Images[i].Vulnerabilities {
			if id == "" && len(v.CVEs) > 0 {
				id = v.CVEs[0].ID
			}
		}
	}
	if id == "" {
		return ""
	}
	text = id + " is in:\n"
	for _, i := range whohas.Find(ctx, known, id).Images {
		text += fmt.Sprintf("  %s (%s)\n", i.String(), i.Advisory)
	}
	return text
}

// doctor shows what is found of a behavior, and what fails.
func (s *sampleSet) doctor(ctx context.Context, behavior hsstest.Behavior) (text string, err error) {
	r, _, err := doctor.Run(ctx, doctor.Options{Config: s.config, Version: "demo"})
	if err != nil {
		return "", err
	}
	text = fmt.Sprintf("Doctor finds, of an HSS with --behavior %s:\n  %s\n", behavior, r.Headline())
	for _, p := range r.Projects {
		for _, f := range p.Findings {
			if f.Verdict == doctor.Failed || strings.Contains(","+behavior.String(), ","+f.Check+"=") {
				text += fmt.Sprintf("  %-7s  %s: %s\n", f.Verdict, f.Check, f.Found)
			}
		}
	}
	return text, nil
}

// scan has images scanned, waits for the results, and evaluates their samples again.
func (s *sampleSet) scan(ctx context.Context, known *inventory.Inventory, clock hurried) (text string, err error) {
	for _, one := range s.samples {
		if one.object.GetAnnotations()["demo.hssgate.io/scan"] == "" || len(one.workload.Uses) == 0 {
			continue
		}
		ref, err := image.Parse(one.workload.Uses[0].Image)
		if err != nil {
			return "", err
		}
		target, err := known.FindScanTarget(&ref)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("Scan and wait for %s:\n", target)
		run := scan.Run{Clock: clock, Wait: true, Timeout: time.Hour, Progress: func(_ int, state string) { text += "  " + state + "\n" }}
		if _, err := run.Scan(ctx, []inventory.ScanTarget{target}); err != nil {
			return "", err
		}
		results, err := s.check(ctx, known, one)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("  %s is now %s: %s\n", one.title(), results[0].Verdict, strings.Join(results[0].Why(), "; "))
	}
	return text, nil
}
