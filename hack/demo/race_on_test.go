//go:build race

package main

// raceFlag builds hssgate as the tests are built, from the same cached packages.
const raceFlag = "-race=true"
