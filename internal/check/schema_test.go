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

func TestPoliciesAreLoadedOrRefused(t *testing.T) {
	t.Parallel()
	metadata := func(metadata string) string { return strings.Replace(policyHead, "{name: p}", metadata, 1) + "{}" }
	good := policyHead + "{enforcement: Warn}\n"
	for text, want := range map[string]string{
		// Files.
		good + "---\n" + strings.Replace(good, "{name: p}", "{name: two}", 1): "",
		good + "---\n" + good: "",
		"{apiVersion: v1, kind: List, items: [{apiVersion: hssgate.io/v1alpha1, kind: ImageScanPolicy, metadata: {name: p}, spec: {enforcement: Warn}}]}": "",
		"# nothing\n": "no ImageScanPolicy",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p}": `not "v1", "Pod"`,
		strings.Replace(good, "v1alpha1", "v9", 1):       "hssgate.io/v9",
		good + "---\n{]": "p.yaml:6: read the YAML",
		// Fields.
		good + "stauts: {}":                                        `unknown field "stauts"`,
		strings.Replace(good, "spec:", "#", 1):                     `ImageScanPolicy "p" is invalid: spec: Required value`,
		"apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\n": "p.yaml:1: ImageScanPolicy \"\" is invalid: [metadata.name: Required value",
		policyHead + "{require: {severityLevel: {max: Low}, scanStatus: {in: [success, failed]}}, when: {notFound: Allow}}": "",
		policyHead + "{enforcement: null, require: {digest: Required}, match: null, when: null, grace: null}":               "",
		policyHead + "{enforcement: deny}":                                                          `spec.enforcement: Unsupported value: "deny": supported values: "Deny", "Warn", "Audit"`,
		policyHead + "{templates: Audit, require: {digest: Always}}":                                `[spec.require.digest: Unsupported value: "Always": supported values: "Required", "Optional", spec.templates: Unsupported`,
		policyHead + "{require: {vulnerabilities: {max: null}}}":                                    "spec.require.vulnerabilities.max: Required value",
		policyHead + "{require: {vulnerabilities: {max: '0'}}}":                                     `spec.require.vulnerabilities.max in body must be of type integer: "string"`,
		policyHead + "{require: {scanAge: {max: 7d}}}":                                              `spec.require.scanAge.max: Invalid value: "7d": must be a duration in hours, minutes and seconds, such as 168h for 7 days`,
		policyHead + "{require: {expressions: [{expresion: 'true', expression: 'true'}]}, cves: 1}": `unknown field "spec.cves", "spec.require.expressions[0].expresion"`,
		policyHead + "{require: {vulnerabilities: {max: 0}, ignoreVulnerabilities: [{id: CVE-2024-1234, reason: x, expiresAt: '2026-12-01T00:00:00Z'}]}}": "",
		policyHead + "{require: {vulnerabilities: {max: 0}, ignoreVulnerabilities: [CVE-2024-1234]}}":                                                     `spec.require.ignoreVulnerabilities[0]: Invalid value: "CVE-2024-1234": must be an object`,
		policyHead + "{require: {vulnerabilities: {max: 0}, ignoreVulnerabilities: [{id: CVE-2024-1234}]}}":                                               "spec.require.ignoreVulnerabilities[0].expiresAt: Required value, spec.require.ignoreVulnerabilities[0].reason: Required value",
		policyHead + "[]": `spec in body must be of type object: "array"`,
		policyHead + "{when: {notFound: Allow, notScanned: Allow, unavailable: Allow}}": "asks for nothing",

		metadata("{name: p, namespace: ignored, labels: {team: a}, annotations: {a/b: c}, resourceVersion: '7'}"): "",
		metadata("{name: Prod_1}"):                          `metadata.name: Invalid value: "Prod_1": a lowercase RFC 1123 subdomain must consist of`,
		metadata("{name: " + strings.Repeat("a", 64) + "}"): "metadata.name must be no more than 63 characters",
		metadata("{name: p, labels: {team: 1}}"):            "metadata: Invalid value",
		metadata("null"):                                    "metadata.name: Required value",
	} {
		loaded, err := load(t, text)
		if err == nil {
			_, err = check.NewChecker(check.Options{Resources: loaded})
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
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
