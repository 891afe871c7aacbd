package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/check"
)

const policyHead = "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: p}\nspec: "

// loadPolicy reads the text of a policy as check, policy test and policy
// simulate do, and compiles it.
func loadPolicy(t *testing.T, text string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{path}})
	if err == nil {
		_, err = check.Compile(loaded.Policies)
	}
	return err
}

func TestAPolicyInAFileMeetsTheSchema(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"{enforcement: Warn, require: {severityLevel: {max: Low}, scanStatus: {in: [success, failed]}}, when: {notFound: Allow}}": "",
		"{enforcement: null, require: {digest: Required}, match: null, when: null, grace: null}":                                  "",
		"{require: {vulnerabilities: {max: 0, fixableOnly: true}, maliciousFiles: {max: 2147483647}}}":                            "",
		"{enforcement: deny}":                                           `spec.enforcement must be Deny, Warn or Audit, not "deny"`,
		"{enforcement: ''}":                                             `spec.enforcement must be Deny, Warn or Audit, not ""`,
		"{require: {severityLevel: {max: Hihg}}}":                       `spec.require.severityLevel.max must be Security, Low, Medium or High, not "Hihg"`,
		"{require: {vulnerabilities: {max: 0, minSeverity: Critical}}}": `spec.require.vulnerabilities.minSeverity must be Low, Medium or High, not "Critical"`,
		"{require: {scanStatus: {in: [success, ok]}}}":                  `spec.require.scanStatus.in[1] must be success, failed, download_failed or image_oversized, not "ok"`,
		"{require: {scanStatus: {in: []}}}":                             "spec.require.scanStatus.in must be a list of 1 to 7 items, not an empty list",
		"{when: {unavailable: Ignore}}":                                 `spec.when.unavailable must be Deny, Warn, Audit or Allow, not "Ignore"`,
		"{templates: Audit, require: {digest: Always}}":                 "spec.require.digest must be Required or Optional, not \"Always\"\nspec.templates must be Deny, Warn or Ignore, not \"Audit\"",
		"{require: {vulnerabilities: {}}}":                              "spec.require.vulnerabilities.max is required: a whole number from 0 to 2147483647",
		"{require: {maliciousFiles: {}}}":                               "spec.require.maliciousFiles.max is required: a whole number from 0 to 2147483647",
		"{require: {vulnerabilities: {max: null}}}":                     "spec.require.vulnerabilities.max is required: a whole number from 0 to 2147483647",
		"{require: {vulnerabilities: {max: '0'}}}":                      `spec.require.vulnerabilities.max must be a whole number from 0 to 2147483647, not "0"`,
		"{require: {vulnerabilities: {max: 1.5}}}":                      "spec.require.vulnerabilities.max must be a whole number from 0 to 2147483647, not 1.5",
		"{require: {vulnerabilities: {max: 5000000000}}}":               "spec.require.vulnerabilities.max must be a whole number from 0 to 2147483647, not 5000000000",
		"{require: {vulnerabilities: {max: -1}}}":                       "spec.require.vulnerabilities.max must be a whole number from 0 to 2147483647, not -1",
		"{require: {vulnerabilities: 0}}":                               "spec.require.vulnerabilities must be a mapping of fields, not 0",
		"{require: {expressions: []}}":                                  "spec.require.expressions must be a list of 1 to 16 items, not an empty list",
		"{require: {expressions: [{expression: ''}]}}":                  `spec.require.expressions[0].expression must be a string of 1 to 1024 characters, not ""`,
		"{pin: 'yes'}": `spec.pin must be true or false, not "yes"`,
		"{match: {namespaceSelector: {matchLabels: {env: 1}}}}":                   "spec.match.namespaceSelector.matchLabels.env must be a string, not 1",
		"{match: {namespaceSelector: {matchExpressions: [{key: env}]}}}":          "spec.match.namespaceSelector.matchExpressions[0].operator is required: a string",
		"{require: {scanAge: {max: 7d}}}":                                         `spec.require.scanAge.max is "7d": it must be a duration in hours, minutes and seconds, such as 168h for 7 days: days and weeks are no unit`,
		"{require: {scanAge: {max: 7}}}":                                          "spec.require.scanAge.max is 7: it must be a duration in hours",
		"{require: {scanAge: {}}}":                                                "spec.require.scanAge.max is required: it must be a duration in hours",
		"{grace: {period: 2w}}":                                                   `spec.grace.period is "2w": it must be a duration from 1m to 2160h (90 days)`,
		"{enforcment: Warn}":                                                      `unknown field "spec.enforcment"; did you mean "enforcement"?`,
		"{require: {expressions: [{expresion: 'true', expression: 'true'}]}}":     `unknown field "spec.require.expressions[0].expresion"; did you mean "expression"?`,
		"{require: {digest: Required, cves: 1}}":                                  `unknown field "spec.require.cves"; allowed are digest, expressions,`,
		"[]":                                                                      "spec must be a mapping of fields, not an empty list",
		"{when: {notFound: Allow, notScanned: Allow, unavailable: Allow}}":        "asks for nothing",
		"{require: {vulnerabilities: {max: 0}}}\nstatus: {observedGeneration: a}": `status.observedGeneration must be a whole number, not "a"`,
	} {
		got := ""
		if err := loadPolicy(t, policyHead+spec); err != nil {
			got = err.Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", spec, got, want)
		}
	}
}

func TestAPolicyInAFileMeetsTheRulesOfMetadata(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]string{
		"{name: p, namespace: ignored, labels: {team: a}, annotations: {a/b: c}, resourceVersion: '7'}": "",
		"{name: Prod_1}": `metadata.name: Invalid value: "Prod_1": a lowercase RFC 1123 subdomain must consist of`,
		"{name: " + strings.Repeat("a", 64) + "}": "metadata.name: Too long: may not be more than 63",
		"{name: 7}":                     "metadata.name must be a string (in quotes, if it reads as something else), not a number",
		"{name: p, labels: {team: 1}}":  "metadata.labels must be a string (in quotes, if it reads as something else), not a number",
		"{name: p, labels: {'a b': c}}": "metadata.labels: Invalid value",
		"{name: p, lables: {a: b}}":     `unknown field "metadata.lables"; did you mean "labels"?`,
		"{labels: {a: b}}":              "metadata.name is missing: an ImageScanPolicy must have one",
		"null":                          "metadata.name is missing",
	} {
		got := ""
		if err := loadPolicy(t, strings.Replace(policyHead, "{name: p}", metadata, 1)+"{}"); err != nil {
			got = err.Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", metadata, got, want)
		}
	}
}

// TestSamplesOfTheSchemaAreJudgedAsByTheAPIServer reads what a real API server
// judges elsewhere.
func TestSamplesOfTheSchemaAreJudgedAsByTheAPIServer(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"valid", "invalid"} {
		paths, err := filepath.Glob("../policy/v1alpha1/testdata/" + folder + "/*.yaml")
		if err != nil || len(paths) == 0 {
			t.Fatalf("there are no samples: %v", err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := loadPolicy(t, string(text)); (err == nil) != (folder == "valid") {
				t.Errorf("%s: got %v", path, err)
			}
		}
	}
}

// TestOnlyWhatIsAllowedIsOffered compares the choices that messages list with
// what is really taken.
func TestOnlyWhatIsAllowedIsOffered(t *testing.T) {
	t.Parallel()
	for spec, values := range map[string]map[string]bool{
		"{require: {vulnerabilities: {max: 0, minSeverity: X}}}": {"Low": true, "Medium": true, "High": true, "Security": false},
		"{require: {scanStatus: {in: [success, X]}}}": {
			"failed": true, "download_failed": true, "image_oversized": true, "unscan": false, "scanning": false, "waiting_for_scan": false,
		},
	} {
		offered := loadPolicy(t, policyHead+strings.Replace(spec, "X", "nothing", 1)).Error()
		for value, want := range values {
			err := loadPolicy(t, policyHead+strings.Replace(spec, "X", value, 1))
			if (err == nil) != want || strings.Contains(offered, value) != want {
				t.Errorf("%s: %s: got %v, and offered is %q", spec, value, err, offered)
			}
		}
	}
}
