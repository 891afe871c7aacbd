//go:build !race

package e2e_test

// raceFlag makes the program under test what the tests are.
const raceFlag = "-race=false"
