package e2e_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets many tests run at a time, however few cores there are: they
// mostly wait for one another's servers.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestHssgate holds all tests that share an API server and gates.
func TestHssgate(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	inParallel(t, newMainGate(t, c), tests{
		"verdicts":    testVerdicts,
		"image IDs":   testImageIDs,
		"places":      testPlaces,
		"updates":     testUpdates,
		"rescans":     testRescans,
		"trouble":     testTrouble,
		"enforcement": testEnforcement,
		"templates":   testTemplates,
		"policies":    testPolicies,
		"exceptions":  testExceptions,
		"allow":       testAllow,
		"effect":      testEffect,
		"pinning":     testPinning,
		"reviews":     testReviews,
		"operation":   testOperation,
		"cves":        testVulnerabilities,
		"processes":   testProcesses,
		"tracing":     testTracing,
		"warm-up":     testWarmUp,
	})
}

type tests map[string]func(*testing.T, *fixture)

// inParallel runs tests of one fixture at the same time.
func inParallel(t *testing.T, f *fixture, all tests) {
	t.Helper()
	for name, test := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}
