// Package bench measures hssgate's webhook, and what it is compared with, by a Go benchmark. `make bench` runs it; goals and results
// are in docs/performance.md.
package bench
