package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestATableIsMarkdown(t *testing.T) {
	table := newTable("server", "× typed", "p99")
	table.add("hssgate", 4.5678, 2400*time.Microsecond)
	table.add("µ", 12345.6, 9*time.Second)
	var out bytes.Buffer
	table.writeTo(&out)
	want := `
|  server | × typed |     p99 |
|     --: |     --: |     --: |
| hssgate |    4.57 | 2.40 ms |
|       µ |   12346 |  9.00 s |

`
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	for want, cell := range map[string]any{
		"0.12": 0.1234, "1.23": 1.2345, "12.3": 12.345, "123": 123.45, "7": 7, "a": "a",
		"250 µs": 250 * time.Microsecond, "1.50 µs": 1500 * time.Nanosecond, "12.3 ms": 12345 * time.Microsecond, "90.0 s": 90 * time.Second,
	} {
		if got := format(cell); got != want {
			t.Errorf("format(%v) = %q, want %q", cell, got, want)
		}
	}
}

func TestMedianAndPercentile(t *testing.T) {
	for want, of := range map[float64][]float64{3: {4, 1, 2, 9}, 5: {9, 1, 5}, 7: {7}} {
		if got := median(len(of), func(i int) float64 { return of[i] }); got != want {
			t.Errorf("median of %v: %g, want %g", of, got, want)
		}
	}
	var samples []time.Duration
	for i := range 100 {
		samples = append(samples, time.Duration(100-i))
	}
	for p, want := range map[int]time.Duration{0: 1, 50: 51, 99: 100, 100: 100} {
		if got := percentile(samples, p); got != want {
			t.Errorf("percentile %d = %d, want %d", p, got, want)
		}
	}
}
