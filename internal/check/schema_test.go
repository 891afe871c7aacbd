package check_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/check"
)

const policyHead = "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: p}\nspec: "

// load reads the text of policies as check, policy test and policy simulate do.
func load(t *testing.T, text string) (check.Resources, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.yaml")
	writeFile(t, path, text)
	return check.LoadPolicies(t.Context(), check.Files{Paths: []string{path}})
}

// loadPolicy loads a policy and compiles it.
func loadPolicy(t *testing.T, text string) error {
	t.Helper()
	loaded, err := load(t, text)
	if err == nil {
		_, err = check.Compile(loaded, check.CompileOptions{})
	}
	return err
}

func TestAPolicyInAFileMeetsTheSchema(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"{enforcement: Warn, require: {severityLevel: {max: Low}, scanStatus: {in: [success, failed]}}, when: {notFound: Allow}}": "",
		"{enforcement: null, require: {digest: Required}, match: null, when: null, grace: null}":                                  "",
		"{require: {vulnerabilities: {max: 0, fixableOnly: true}, maliciousFiles: {max: 2147483647}}}":                            "",
		"{enforcement: deny}": `spec.enforcement: Unsupported value: "deny": supported values: "Deny", "Warn", "Audit"`,
		"{enforcement: ''}":   `spec.enforcement: Unsupported value: ""`,
		"{require: {vulnerabilities: {max: 0, minSeverity: Security}}}":                `spec.require.vulnerabilities.minSeverity: Invalid value: "Security": must be Low, Medium or High`,
		"{require: {scanStatus: {in: [success, ok]}}}":                                 `spec.require.scanStatus.in[1]: Unsupported value: "ok"`,
		"{require: {scanStatus: {in: [success, unscan]}}}":                             "unscan, scanning and waiting_for_scan are decided by when.notScanned",
		"{require: {scanStatus: {in: []}}}":                                            "spec.require.scanStatus.in in body should have at least 1 items",
		"{templates: Audit, require: {digest: Always}}":                                `[spec.require.digest: Unsupported value: "Always": supported values: "Required", "Optional", spec.templates: Unsupported`,
		"{require: {vulnerabilities: {}}}":                                             "spec.require.vulnerabilities.max: Required value",
		"{require: {vulnerabilities: {max: null}}}":                                    "spec.require.vulnerabilities.max: Required value",
		"{require: {vulnerabilities: {max: '0'}}}":                                     `spec.require.vulnerabilities.max in body must be of type integer: "string"`,
		"{require: {vulnerabilities: {max: 5000000000}}}":                              "spec.require.vulnerabilities.max in body should be less than or equal to 2147483647",
		"{require: {vulnerabilities: 0}}":                                              `spec.require.vulnerabilities in body must be of type object: "integer"`,
		"{require: {expressions: [{expression: ''}]}}":                                 "spec.require.expressions[0].expression in body should be at least 1 chars long",
		"{match: {namespaceSelector: {matchLabels: {env: 1}}}}":                        "spec.match.namespaceSelector.matchLabels.env in body must be of type string",
		"{require: {scanAge: {max: 7d}}}":                                              `spec.require.scanAge.max: Invalid value: "7d": must be a duration in hours, minutes and seconds, such as 168h for 7 days`,
		"{require: {scanAge: {max: 7}}}":                                               "spec.require.scanAge.max in body must be of type string",
		"{grace: {period: 2w}}":                                                        `spec.grace.period: Invalid value: "2w": must be a duration from 1m to 2160h (90 days)`,
		"{enforcment: Warn}":                                                           `unknown field "spec.enforcment"; did you mean "enforcement"?`,
		"{require: {expressions: [{expresion: 'true', expression: 'true'}]}, cves: 1}": "unknown field \"spec.cves\" unknown field \"spec.require.expressions[0].expresion\"; did you mean \"expression\"?",
		"[]": `spec in body must be of type object: "array"`,
		"{when: {notFound: Allow, notScanned: Allow, unavailable: Allow}}":        "asks for nothing",
		"{require: {vulnerabilities: {max: 0}}}\nstatus: {observedGeneration: a}": "status.observedGeneration in body must be of type integer",
	} {
		expectRefusal(t, policyHead+spec, want)
	}
}

func TestAPolicyInAFileMeetsTheRulesOfMetadata(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]string{
		"{name: p, namespace: ignored, labels: {team: a}, annotations: {a/b: c}, resourceVersion: '7'}": "",
		"{name: Prod_1}": `metadata.name: Invalid value: "Prod_1": a lowercase RFC 1123 subdomain must consist of`,
		"{name: " + strings.Repeat("a", 64) + "}": "metadata.name must be no more than 63 characters",
		"{name: 7}":                     "metadata: Invalid value",
		"{name: p, labels: {team: 1}}":  "metadata: Invalid value",
		"{name: p, labels: {'a b': c}}": "metadata.labels: Invalid value",
		"{name: p, lables: {a: b}}":     `unknown field "metadata.lables"`,
		"{labels: {a: b}}":              "metadata.name is missing: an ImageScanPolicy must have one",
		"null":                          "metadata.name is missing",
	} {
		expectRefusal(t, strings.Replace(policyHead, "{name: p}", metadata, 1)+"{}", want)
	}
}

// expectRefusal loads a policy that is refused, unless want is empty.
func expectRefusal(t *testing.T, text, want string) {
	t.Helper()
	got := ""
	if err := loadPolicy(t, text); err != nil {
		got = err.Error()
	}
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q", text, got, want)
	}
}

// TestSamplesOfTheSchemaAreValidatedAsByTheAPIServer reads what a real API server
// evaluates elsewhere.
func TestSamplesOfTheSchemaAreValidatedAsByTheAPIServer(t *testing.T) {
	t.Parallel()
	for folder, valid := range map[string]bool{"valid": true, "invalid": false, "exceptions/valid": true, "exceptions/invalid": false} {
		paths, err := filepath.Glob("../../policy/v1alpha1/testdata/" + folder + "/*.yaml")
		if err != nil || len(paths) == 0 {
			t.Fatalf("there are no samples: %v", err)
		}
		for _, path := range paths {
			besides := filepath.Join(t.TempDir(), "p.yaml") // an exception alone is no policy
			writeFile(t, besides, strings.Replace(policyHead, "{name: p}", "{name: beside}", 1)+"{}\n")
			if _, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{path, besides}}); (err == nil) != valid {
				t.Errorf("%s: got %v", path, err)
			}
		}
	}
}
