package policy

import "github.com/hssgate/hssgate/policy/v1alpha1"

// stage is how far a scan has come.
type stage int

const (
	// stageUnknown: HSS sent a status that its documentation doesn't name.
	stageUnknown stage = iota
	// stagePending: a scan is to come or under way.
	stagePending
	// stageFailed: the scan ended without a result.
	stageFailed
	// stageDone: the scan ended with a result.
	stageDone
)

func stageOf(s v1alpha1.ScanStatus) stage {
	switch s {
	case v1alpha1.ScanStatusUnscan, v1alpha1.ScanStatusScanning, v1alpha1.ScanStatusWaitingForScan:
		return stagePending
	case v1alpha1.ScanStatusFailed, v1alpha1.ScanStatusDownloadFailed, v1alpha1.ScanStatusImageOversized:
		return stageFailed
	case v1alpha1.ScanStatusSuccess:
		return stageDone
	}
	return stageUnknown
}

// completedStatuses are those with which a scan ends.
func completedStatuses() []v1alpha1.ScanStatus {
	return []v1alpha1.ScanStatus{
		v1alpha1.ScanStatusSuccess, v1alpha1.ScanStatusFailed,
		v1alpha1.ScanStatusDownloadFailed, v1alpha1.ScanStatusImageOversized,
	}
}

// pendingText says in words that a scan has not been completed.
func pendingText(s v1alpha1.ScanStatus) string {
	switch s {
	case v1alpha1.ScanStatusScanning:
		return "being scanned, and no completed scan is known"
	case v1alpha1.ScanStatusWaitingForScan:
		return "waiting to be scanned, and no completed scan is known"
	}
	return "never scanned"
}
