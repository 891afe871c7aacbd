package gate

import (
	"slices"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Unscanned are the images, each once, that the object is denied or warned for
// since HSS does not know them, has not scanned them, or could not.
func (d *Decision) Unscanned() []image.Reference {
	var images []image.Reference
	for i := range d.Violations {
		v := &d.Violations[i]
		if v.Effect != v1alpha1.EnforcementDeny && v.Effect != v1alpha1.EnforcementWarn {
			continue
		}
		if v.lacksScan() && v.Image != (image.Reference{}) && !slices.Contains(images, v.Image) {
			images = append(images, v.Image)
		}
	}
	return images
}

func (v *Violation) lacksScan() bool {
	return slices.ContainsFunc(v.Findings, func(f policy.Finding) bool {
		switch f.Check {
		case policy.CheckNotFound, policy.CheckNotScanned, policy.CheckScanStatus:
			return true
		}
		return false
	})
}
