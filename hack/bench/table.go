package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// table is printed with its columns under each other: the first one to the
// left, numbers to the right. It is valid Markdown.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

// add adds a row; numbers are written with three digits that count.
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

// significant writes three digits that count, and all before the point.
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

func (t *table) print(w io.Writer) {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
		if i > 0 {
			rule[i] = rule[i][1:] + ":"
		}
	}
	for _, row := range slices.Concat([][]string{t.header, rule}, t.rows) {
		printRow(w, row, widths)
	}
	fmt.Fprintln(w)
}

func printRow(w io.Writer, row []string, widths []int) {
	for i, cell := range row {
		padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i == 0 {
			fmt.Fprintf(w, "| %s%s ", cell, padding)
			continue
		}
		fmt.Fprintf(w, "| %s%s ", padding, cell)
	}
	fmt.Fprintln(w, "|")
}

// median returns the middle one of some numbers.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	if len(sorted) == 0 {
		return 0
	}
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

func least(of []float64) float64 { return slices.Min(of) }

func most(of []float64) float64 { return slices.Max(of) }
