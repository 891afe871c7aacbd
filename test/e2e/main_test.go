package e2e_test

import (
	"flag"
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/hssgate/hssgate/internal/controlplanetest"
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

// TestHssgate holds all tests, so that the program is built once: that takes longer than most of them.
func TestHssgate(t *testing.T) {
	// A race in the program ends it, as it does the tests. The race detector takes memory.
	info, _ := debug.ReadBuildInfo()
	race := slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	program := controlplanetest.StartBuild(t, race)
	plain := program
	if race {
		plain = controlplanetest.StartBuild(t, false)
	}
	clients := newClientCA(t)
	c := newCluster(t, program, controlplanetest.WithFlag("admission-control-config-file", clients.admissionConfiguration(t)))
	// Others would wait for longer than they expect.
	t.Run("a flood leaves memory free", func(t *testing.T) { testFlood(t, c, plain(t)) })
	shared := newMainGate(t, c) // it reviews the policies of all
	t.Run("gates of their own", func(t *testing.T) {
		t.Parallel()
		inParallel(t, c, tests[*cluster]{
			"audit":                   testAudit, // these four have clusters of their own, too
			"grace":                   testGrace,
			"scans on demand":         testScanOnDemand,
			"disruption":              testDisruption,
			"shutdown":                testShutdown,
			"a second signal":         testSecondSignal,
			"replicas share a CA":     testSharedCA,
			"only known clients":      func(t *testing.T, c *cluster) { testClients(t, c, clients) },
			"certificates from files": testCertificateFiles,
			"pinning":                 testPinning,
			"messages in Chinese":     testChinese,
			"large and many reviews":  testReviews,
			"tracing":                 testTracing,
			"warm-up":                 testWarmUp,
		})
	})
	inParallel(t, shared, tests[*gate]{
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
		"cves":        testVulnerabilities,
		"mistakes":    testMistakes,
	})
}

type tests[F any] map[string]func(*testing.T, F)

// inParallel runs tests of one fixture at the same time.
func inParallel[F any](t *testing.T, fixture F, all tests[F]) {
	t.Helper()
	for name, test := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fixture)
		})
	}
}
