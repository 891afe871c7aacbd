//go:build race

package e2e_test

// raceFlag makes the program under test what the tests are, so that a race in
// it ends it.
const raceFlag = "-race=true"
