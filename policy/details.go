package policy

import "time"

// Detail is a kind of list that HSS has of a scan, besides the image's row.
type Detail int

// The kinds.
const (
	DetailVulnerabilities Detail = iota
	DetailSecrets
	DetailMaliciousFiles
)

// Details are the kinds of details that are wanted of an image's scans.
type Details map[Detail]Wanted

// Wanted is how long to wait for details; below 0: only those in memory are wanted. They
// are needed if a verdict depends on them; if not, older ones will do.
type Wanted struct {
	Wait   time.Duration
	Needed bool
}

// Add adds a wish for details of a kind.
func (d *Details) Add(kind Detail, w Wanted) {
	if *d == nil {
		*d = Details{}
	}
	before, wanted := (*d)[kind]
	if !wanted {
		before = w
	}
	(*d)[kind] = Wanted{Wait: max(before.Wait, w.Wait), Needed: before.Needed || w.Needed}
}
