package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// checkMetrics has everything happen that the chart's dashboard and alerts
// measure, and then looks in a scrape for every metric that they name. To be in
// the code is not enough: it could be registered nowhere.
func (a *audited) checkMetrics(t *testing.T) {
	t.Helper()
	s := a.newSpace(t)
	add(a.hss, row("let-past", high, func(i *hsstest.Image) { i.ImageID = "img-let-past" }))
	s.enforce(t, "p")
	if err := s.run(t, newPod("denied", "main.example.com/prod/let-past:1")); err == nil {
		t.Error("a bad image was admitted")
	}
	s.grant(t, "e", excepting("main.example.com/prod/let-past"))
	if err := s.run(t, newPod("let-past", "main.example.com/prod/let-past:1")); err != nil {
		t.Error(err)
	}
	a.useGrace(t, s)
	used := metricsInChart(t)
	eventually(t, func() error {
		scraped := a.scrape(t)
		var missing []string
		for _, name := range used {
			if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(scraped) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("missing in the scrape: %s", strings.Join(missing, ", "))
		}
		return bounded(scraped)
	})
}

// useGrace has an image run and pass, and lets it past once it is bad.
func (a *audited) useGrace(t *testing.T, s *space) {
	t.Helper()
	const name = "forgiven"
	add(a.hss, row(name))
	p := s.newPolicy("g", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: gracePeriod}}
		spec.Match.Images = []string{"main.example.com/prod/" + name}
	})
	s.create(t, p)
	runAs(t, s, s.name, name, digest("a"))
	history := func() (one v1alpha1.PassedImage, err error) {
		var h v1alpha1.ImageScanHistory
		if err := s.cluster.policies.Get(t.Context(), client.ObjectKey{Name: p.Name}, &h); err != nil || len(h.Images) != 1 {
			return one, orNotYet(err)
		}
		return h.Images[0], nil
	}
	eventually(t, func() error {
		_, err := history()
		return err
	})
	if err := s.cluster.policies.Delete(t.Context(), s.newPolicy("p")); err != nil {
		t.Fatal(err)
	}
	change(a.hss, name, high)
	eventually(t, func() error {
		if one, err := history(); err != nil || one.WorsenedAt == nil {
			return orNotYet(err)
		}
		return s.run(t, newPod("again", image(name)))
	})
}

// metricsInChart returns hssgate's metrics that dashboard and alerts name.
func metricsInChart(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, path := range []string{"../charts/hssgate/files/dashboards/hssgate.json", "../charts/hssgate/templates/prometheusrule.yaml"} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, regexp.MustCompile(`hssgate_[a-z_]+`).FindAllString(string(content), -1)...)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 15 {
		t.Fatalf("dashboard and alerts name only %v", names)
	}
	return names
}

// bounded checks that no metric of ours names what users choose without bound.
func bounded(scraped string) error {
	var problems []error
	for line := range strings.Lines(scraped) {
		if strings.HasPrefix(line, "hssgate_") && regexp.MustCompile(`prod/|web-\d|let-past|sha256`).MatchString(line) {
			problems = append(problems, fmt.Errorf("an image or a pod is a label: %s", line))
		}
	}
	return errors.Join(problems...)
}
