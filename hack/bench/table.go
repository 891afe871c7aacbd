package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table is a Markdown table whose columns are aligned.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

// add adds a row; numbers are written with three significant digits.
func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = format(cell)
	}
	t.rows = append(t.rows, row)
}

func format(cell any) string {
	switch v := cell.(type) {
	case float64:
		return significant(v)
	case time.Duration:
		return duration(v)
	default:
		return fmt.Sprint(v)
	}
}

// significant writes three significant digits, and all before the point.
func significant(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func duration(d time.Duration) string {
	switch {
	case d >= time.Second:
		return significant(d.Seconds()) + " s"
	case d >= time.Millisecond:
		return significant(d.Seconds()*1e3) + " ms"
	default:
		return significant(d.Seconds()*1e6) + " µs"
	}
}

func (t *table) writeTo(w io.Writer) {
	aligned := tabwriter.NewWriter(w, 0, 0, 0, ' ', tabwriter.AlignRight|tabwriter.Debug) // Debug draws the |
	rule := slices.Repeat([]string{"--:"}, len(t.header))
	for _, row := range slices.Concat([][]string{t.header, rule}, t.rows) {
		fmt.Fprintf(aligned, "\t %s \t\n", strings.Join(row, " \t "))
	}
	_ = aligned.Flush() // standard output, as everywhere here
	fmt.Fprintln(w)
}

// median returns the middle one of n numbers, at least one.
func median(n int, at func(int) float64) float64 {
	numbers := make([]float64, n)
	for i := range numbers {
		numbers[i] = at(i)
	}
	slices.Sort(numbers)
	return (numbers[(n-1)/2] + numbers[n/2]) / 2
}

// percentile sorts the samples, at least one, and returns the one below which p in 100 lie.
func percentile(samples []time.Duration, p int) time.Duration {
	slices.Sort(samples)
	return samples[min(len(samples)*p/100, len(samples)-1)]
}
