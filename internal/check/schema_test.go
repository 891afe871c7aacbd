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
		"{enforcement: deny}":                                                          `spec.enforcement: Unsupported value: "deny": supported values: "Deny", "Warn", "Audit"`,
		"{require: {scanStatus: {in: [success, ok]}}}":                                 `spec.require.scanStatus.in[1]: Unsupported value: "ok"`,
		"{templates: Audit, require: {digest: Always}}":                                `[spec.require.digest: Unsupported value: "Always": supported values: "Required", "Optional", spec.templates: Unsupported`,
		"{require: {vulnerabilities: {max: null}}}":                                    "spec.require.vulnerabilities.max: Required value",
		"{require: {vulnerabilities: {max: '0'}}}":                                     `spec.require.vulnerabilities.max in body must be of type integer: "string"`,
		"{match: {namespaceSelector: {matchLabels: {env: 1}}}}":                        "spec.match.namespaceSelector.matchLabels.env in body must be of type string",
		"{require: {scanAge: {max: 7d}}}":                                              `spec.require.scanAge.max: Invalid value: "7d": must be a duration in hours, minutes and seconds, such as 168h for 7 days`,
		"{enforcment: Warn}":                                                           `unknown field "spec.enforcment"`,
		"{require: {expressions: [{expresion: 'true', expression: 'true'}]}, cves: 1}": `unknown field "spec.cves", "spec.require.expressions[0].expresion"`,
		"[]": `spec in body must be of type object: "array"`,
		"{when: {notFound: Allow, notScanned: Allow, unavailable: Allow}}": "asks for nothing",
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
		"{name: p, labels: {team: 1}}":            "metadata: Invalid value",
		"{labels: {a: b}}":                        "metadata.name: Required value",
		"null":                                    "metadata.name: Required value",
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
