package doctor

import (
	"cmp"
	_ "embed"
	"strings"

	"sigs.k8s.io/yaml"
)

// entry is a check, or a trait: one of the ways in which HSS may behave. findings.yaml has them all.
type entry struct {
	Name string `json:"name"`
	// Of names a trait for people, and Takes is what shows it.
	Of       string             `json:"of"`
	Takes    string             `json:"takes"`
	Readings map[string]reading `json:"readings"`
}

// reading is what follows from a value.
type reading struct {
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Remedy  string  `json:"remedy"`
	Propose string  `json:"propose"`
}

//go:embed findings.yaml
var findings []byte

// entries returns all checks and traits.
func entries() (all []entry) {
	if err := yaml.UnmarshalStrict(findings, &all); err != nil {
		panic(err) // every test would notice
	}
	return all
}

// find adds what follows from the value of a check. A check of one of several things has its name behind its own.
func (s *session) find(check, of, value, detail string) {
	for _, e := range s.entries {
		if r, known := e.Readings[value]; known && e.Name == check {
			s.add(strings.TrimSpace(check+" "+of), cmp.Or(r.Verdict, OK), strings.ReplaceAll(r.Found, "{}", detail), r.Remedy)
		}
	}
}

func (s *session) add(check string, v Verdict, found, remedy string) {
	s.report.Findings = append(s.report.Findings, Finding{check, v, found, remedy})
}

// conclude adds what follows from the values of traits, and what to configure for it.
func (s *session) conclude() {
	paging := s.report.Behavior["paging"]
	s.evidence.ordered = paging == "stable"
	lacks := map[string]bool{
		"syncInterval: 1m":      s.project.SyncInterval == 0 && paging != "shuffled", // a list without order is never whole
		"requestsPerSecond: 90": s.project.RequestsPerSecond < 90,                    // of 200, for two replicas
	}
	for trait, value := range s.evidence.values() {
		s.behaves(trait, value)
	}
	fields := ""
	for _, t := range s.entries {
		r, shown := t.Readings[s.report.Behavior[t.Name]]
		switch {
		case shown:
			s.add(t.Name, cmp.Or(r.Verdict, OK), t.Of+" "+r.Found, r.Remedy)
		case t.Takes != "":
			s.add(t.Name, Unknown, t.Of+": no evidence", "it takes "+t.Takes)
		}
		if lacks[r.Propose] {
			fields, lacks[r.Propose] = fields+"  "+r.Propose+"\n", false
		}
	}
	if fields != "" {
		s.report.Proposal = "projects:\n- name: " + s.project.Name + "\n" + fields
	}
	if len(s.registries) > 0 {
		s.report.Proposal += "registries:\n" + strings.Join(s.registries, "")
	}
}
