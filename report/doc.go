// Package report holds what came of checking images, and writes it: as a table
// for a terminal, as JSON and YAML for programs, as SARIF and JUnit for
// pipelines, as Markdown for a pull request, and as one HTML file for people.
//
// Whatever the format, the verdicts are those of package gate, and nothing is
// left out but what the format has no place for.
package report
