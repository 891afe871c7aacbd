package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEnumerationsAreThoseOfTheSchema compares them with what the schema is
// generated from.
func TestEnumerationsAreThoseOfTheSchema(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../policy/v1alpha1/*_types.go")
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`validation:Enum=(\S+)\n(?://.*\n)*type (\w+) string`).FindAllStringSubmatch(string(source), -1) {
			want[m[2]] = m[1]
		}
	}
	for typ, values := range enumerations() {
		got[typ.Name()] = strings.Join(values, ";")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-schema +here):\n%s", diff)
	}
}

func TestAPolicyInAFileMeetsTheSchemasEnumerations(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: p}\nspec: "
	for spec, want := range map[string]string{
		"{enforcement: Warn, require: {severityLevel: {max: Low}, scanStatus: {in: [success, failed]}}, when: {notFound: Allow}}": "",
		"{enforcement: deny}":                           `spec.enforcement must be Deny, Warn or Audit, not "deny"`,
		"{require: {severityLevel: {max: Hihg}}}":       `spec.require.severityLevel.max must be Security, Low, Medium or High, not "Hihg"`,
		"{require: {scanStatus: {in: [success, ok]}}}":  `spec.require.scanStatus.in[1] must be unscan, success, scanning, failed, download_failed, image_oversized or waiting_for_scan, not "ok"`,
		"{when: {unavailable: Ignore}}":                 `spec.when.unavailable must be Deny, Warn, Audit or Allow, not "Ignore"`,
		"{templates: Audit, require: {digest: Always}}": "spec.require.digest must be Required or Optional, not \"Always\"\nspec.templates must be Deny, Warn or Ignore, not \"Audit\"",
	} {
		d := document{text: []byte(head + spec), line: 1}
		_, err := d.policy()
		got := ""
		if err != nil {
			got = err.Error()
		}
		if sorted(got) != sorted(want) {
			t.Errorf("%s: got %q, want %q", spec, got, want)
		}
	}
}

// sorted makes the order of lines not matter.
func sorted(lines string) string {
	all := strings.Split(lines, "\n")
	if len(all) == 2 && all[0] > all[1] {
		all[0], all[1] = all[1], all[0]
	}
	return strings.Join(all, "\n")
}
