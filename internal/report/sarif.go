package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// object is an object of SARIF 2.1.0 (OASIS, errata 01).
type object map[string]any

// maxSARIFVulnerabilities bounds the identifiers in a property.
const maxSARIFVulnerabilities = 100

func (r *Report) sarif() object {
	results, rules, checks := []object{}, []object{}, map[policy.Check]bool{}
	for i := range r.Results {
		one := &r.Results[i]
		for j := range one.Violations {
			for _, f := range one.Violations[j].Findings {
				checks[f.Check] = true
				results = append(results, one.sarif(&one.Violations[j], f))
			}
		}
	}
	for _, check := range slices.Sorted(maps.Keys(checks)) {
		words := fmt.Sprintf("The image must meet the requirement %s of the ImageScanPolicy.", check)
		rules = append(rules, object{
			"id": check, "shortDescription": text(words), "defaultConfiguration": object{"level": "error"},
			"help": text(words + " The result names the policy, which has the limits."),
		})
	}
	driver := object{"name": "hssgate", "informationUri": "https://github.com/hssgate/hssgate", "rules": rules}
	if r.Version != "" {
		driver["version"] = r.Version
	}
	return object{
		"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		"version": "2.1.0",
		"runs": []object{{
			"tool": object{"driver": driver}, "invocations": []object{r.invocation()}, "results": results, "columnKind": "unicodeCodePoints",
		}},
	}
}

func text(s string) object { return object{"text": s} }

// invocation returns whether everything was read, and what was not.
func (r *Report) invocation() object {
	notifications := []object{}
	add := func(level, message string, p Problem) {
		n := object{"level": level, "message": text(message)}
		if p.Source != "" {
			n["locations"] = []object{{"physicalLocation": physical(p.Source, p.Line)}}
		}
		notifications = append(notifications, n)
	}
	for _, p := range r.Problems {
		add("error", p.Message, p)
	}
	for _, p := range r.Skipped {
		add("warning", "skipped: "+p.Message, p)
	}
	i := object{"executionSuccessful": len(r.Problems) == 0, "toolExecutionNotifications": notifications}
	if !r.Time.IsZero() {
		i["endTimeUtc"] = r.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return i
}

func (r *Result) sarif(v *Violation, f policy.Finding) object {
	name := strings.TrimPrefix(r.Namespace+"/"+cmp.Or(r.Owner, r.Name), "/")
	line, properties := r.Line, object{"policy": v.Policy, "image": v.Reference, "effect": v.Effect}
	for i := range r.Images {
		one := &r.Images[i]
		if one.Place == v.Place && one.Name == v.Name {
			line = cmp.Or(one.Line, line)
		}
		if one.Reference == v.Reference && one.Listed != nil && len(one.Listed.Listed) > 0 && (f.Check == policy.CheckVulnerabilities || f.Check == policy.CheckSeverityLevel) {
			properties["vulnerabilities"] = strings.Join(firstOf(one.Listed.ids(), maxSARIFVulnerabilities).Shown, " ")
		}
	}
	location := object{"logicalLocations": []object{{"name": cmp.Or(r.Name, "unnamed"), "fullyQualifiedName": r.Kind + "/" + name, "kind": "resource"}}}
	if r.Source != "" {
		location["physicalLocation"] = physical(r.Source, line)
	}
	// The fingerprint stays the same while the same image of the same object fails the
	// same check of the same policy.
	repository, _, _ := strings.Cut(v.Reference, "@")
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Kind, name, string(v.Place), v.Name, repository, v.Policy, string(f.Check)}, "\x00")))
	return object{
		"ruleId": f.Check, "level": v.sarifLevel(), "locations": []object{location}, "properties": properties,
		"message":             text(fmt.Sprintf("%s %s, %s %s: %s: %s [policy %s]", r.Kind, name, v.Place, v.Name, v.Reference, f.Message, v.Policy)),
		"partialFingerprints": object{"hssgate/v1": hex.EncodeToString(sum[:])},
	}
}

// ids returns the identifiers of the listed vulnerabilities, each once, the worst
// first.
func (i *ListedImage) ids() []string {
	var ids []string
	for _, v := range i.Listed {
		if !slices.Contains(ids, v.ID) {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// sarifLevel returns an error also for a workload whose pods would be denied:
// otherwise a pipeline that fails by errors would apply what never runs.
func (v *Violation) sarifLevel() string {
	switch {
	case v.Effect == v1alpha1.EnforcementDeny, v.PodEffect == v1alpha1.EnforcementDeny:
		return "error"
	case v.Effect == v1alpha1.EnforcementWarn:
		return "warning"
	default:
		return "note"
	}
}

// physical returns a place in a file. Code hosts expect a relative URI.
func physical(source string, line int) object {
	uri := url.URL{Path: strings.TrimPrefix(filepath.ToSlash(source), "./")}
	if filepath.IsAbs(source) {
		uri.Scheme = "file"
	}
	p := object{"artifactLocation": object{"uri": uri.String()}}
	if line > 0 {
		p["region"] = object{"startLine": line}
	}
	return p
}
