package hss_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

func TestSeveritiesAreOrderedAndUnknownOnesAreTheWorst(t *testing.T) {
	t.Parallel()
	levels := []hss.Severity{"Critical", hss.SeverityHigh, hss.SeveritySecurity, "", hss.SeverityMedium, hss.SeverityLow}
	slices.SortFunc(levels, hss.Severity.Compare)
	want := []hss.Severity{"", hss.SeveritySecurity, hss.SeverityLow, hss.SeverityMedium, hss.SeverityHigh, "Critical"}
	if diff := cmp.Diff(want, levels); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	for _, level := range levels {
		if known := level != "" && level != "Critical"; level.Known() != known {
			t.Errorf("%q: Known is %t", level, !known)
		}
	}
	if hss.Severity("high").Known() {
		t.Error("another spelling counts as known")
	}
}

func TestScanStatusPredicates(t *testing.T) {
	t.Parallel()
	type is struct{ Known, Completed, Pending, Running, Failed bool }
	for status, want := range map[hss.ScanStatus]is{
		hss.ScanStatusUnscan:         {Known: true, Pending: true},
		hss.ScanStatusSuccess:        {Known: true, Completed: true},
		hss.ScanStatusScanning:       {Known: true, Pending: true, Running: true},
		hss.ScanStatusWaitingForScan: {Known: true, Pending: true, Running: true},
		hss.ScanStatusFailed:         {Known: true, Failed: true},
		hss.ScanStatusDownloadFailed: {Known: true, Failed: true},
		hss.ScanStatusImageOversized: {Known: true, Failed: true},
		"":                           {},
		"Success":                    {},
		"paused":                     {},
	} {
		got := is{status.Known(), status.Completed(), status.Pending(), status.Running(), status.Failed()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", status, diff)
		}
	}
}

func TestTypesKnowTheirDocumentedValues(t *testing.T) {
	t.Parallel()
	for _, known := range []hss.ImageType{
		hss.ImageTypePrivate, hss.ImageTypeShared, hss.ImageTypeInstance, hss.ImageTypeHarbor, hss.ImageTypeJFrog,
	} {
		if !known.Known() {
			t.Errorf("image type %q is not known", known)
		}
	}
	for _, known := range []hss.RegistryType{
		hss.RegistryTypeSWRPrivate, hss.RegistryTypeSWRShared, hss.RegistryTypeSWREnterprise,
		hss.RegistryTypeHarbor, hss.RegistryTypeJFrog, hss.RegistryTypeOther,
	} {
		if !known.Known() {
			t.Errorf("registry type %q is not known", known)
		}
	}
	if hss.ImageType("other").Known() || hss.ImageType("").Known() || hss.RegistryType("swrprivate").Known() {
		t.Error("an undocumented value is known")
	}
}
