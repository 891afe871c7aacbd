// Package bench measures hssgate, and what it is compared with, by Go benchmarks. `make bench` runs them; goals and results
// are in docs/performance.md.
package bench
