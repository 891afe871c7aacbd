// Package faults holds tests only: HSS fails in many ways while reviews keep coming, and each answer is compared with a
// computation of the tests' own.
package faults
