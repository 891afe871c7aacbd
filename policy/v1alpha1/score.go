package v1alpha1

import (
	"math"
	"strconv"
)

// Score is a CVSS score from 0 to 10 with at most one decimal. In YAML it is a number
// such as 7 or 7.5.
//
// +kubebuilder:validation:Type=number
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=10
// +kubebuilder:validation:XValidation:rule="double(int(self * 10.0 + 0.5)) / 10.0 == self",message="must be a CVSS score from 0 to 10 with at most one decimal, such as 7 or 7.5"
type Score float64

// MaxScore is the worst score.
const MaxScore Score = 10

// NewScore returns a score that HSS sent, exactly as one written in YAML is read: what
// is beyond the first decimal is rounded up, unless it comes from a float32. It reports
// whether it is a score: 0 is that of no vulnerability, so it stands for an unknown one.
func NewScore(score float64) (s Score, ok bool) {
	const tenths, inexact = 10, 1e-4
	if score > 0 && score <= float64(MaxScore) { // NaN is neither
		return Score(math.Ceil(score*tenths-inexact) / tenths), true
	}
	return 0, false
}

// String returns the score with its decimal, as CVSS writes it.
func (s Score) String() string { return strconv.FormatFloat(float64(s), 'f', 1, 64) }

// MarshalJSON writes a number.
func (s Score) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }
