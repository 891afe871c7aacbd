package main

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestATableIsMarkdown(t *testing.T) {
	t.Parallel()
	table := newTable("server", "× typed", "p99")
	table.add("hssgate", 4.5678, 2400*time.Microsecond)
	table.add("µ", 12345.6, 9*time.Second)
	var out bytes.Buffer
	table.print(&out)
	want := `| server  | × typed |     p99 |
| ------- | ------: | ------: |
| hssgate |    4.57 | 2.40 ms |
| µ       |   12346 |  9.00 s |

`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	t.Parallel()
	for want, cell := range map[string]any{
		"0.12": 0.1234, "1.23": 1.2345, "12.3": 12.345, "123": 123.45, "7": 7, "a": "a",
		"250 µs": 250 * time.Microsecond, "1.50 µs": 1500 * time.Nanosecond, "12.3 ms": 12345 * time.Microsecond, "90.0 s": 90 * time.Second,
	} {
		if got := format(cell); got != want {
			t.Errorf("format(%v) = %q, want %q", cell, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		of   []float64
		want float64
	}{
		"of nothing":       {nil, 0},
		"of one":           {[]float64{3}, 3},
		"of an odd number": {[]float64{9, 1, 5}, 5},
		"between two":      {[]float64{4, 1, 2, 9}, 3},
	}
	for name, tt := range tests {
		if got := median(tt.of); got != tt.want {
			t.Errorf("%s: %g, want %g", name, got, tt.want)
		}
	}
	if got := medianRatio([]float64{2, 3, 8}, []float64{1, 2, 2}); math.Abs(got-2) > 1e-9 {
		t.Errorf("medianRatio = %g, want 2", got)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var samples []time.Duration
	for i := range 100 {
		samples = append(samples, time.Duration(100-i))
	}
	for p, want := range map[int]time.Duration{0: 1, 50: 51, 99: 100, 100: 100} {
		if got := percentile(samples, p); got != want {
			t.Errorf("percentile %d = %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("percentile of nothing = %d, want 0", got)
	}
}
