package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The parts of SARIF 2.1.0 (OASIS, errata 01) that are written here.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Version        string      `json:"version,omitempty"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string        `json:"id"`
		ShortDescription sarifText     `json:"shortDescription"`
		Help             sarifText     `json:"help"`
		Defaults         sarifDefaults `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifDefaults struct {
		Level string `json:"level"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		EndTime       string              `json:"endTimeUtc,omitempty"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]string `json:"properties"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name          string `json:"name"`
		QualifiedName string `json:"fullyQualifiedName"`
		Kind          string `json:"kind"`
	}
)

const (
	sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	homepage    = "https://github.com/hssgate/hssgate"
)

// rules says in a sentence what each check wants, by its name.
func rules() map[policy.Check]string {
	return map[policy.Check]string{
		policy.CheckSeverityLevel:   "The severity level that HSS gives the image must not exceed what the policy allows.",
		policy.CheckVulnerabilities: "The image must not have more vulnerabilities than the policy allows.",
		policy.CheckMaliciousFiles:  "The image must not hold more malicious files than the policy allows.",
		policy.CheckUnsafeSettings:  "The image must not have more unsafe settings than the policy allows.",
		policy.CheckScanStatus:      "The image's scan must have a status that the policy accepts.",
		policy.CheckScanAge:         "The image's last scan must not be older than the policy allows.",
		policy.CheckDigest:          "The image must be named by its digest.",
		policy.CheckExpression:      "The image must meet the policy's expressions.",
		policy.CheckNotFound:        "HSS must know the image.",
		policy.CheckNotScanned:      "HSS must have scanned the image.",
		policy.CheckUnavailable:     "HSS must be able to tell what it knows of the image.",
		gate.CheckReference:         "The image's name must be one.",
	}
}

func (r *Report) writeSARIF(w io.Writer) error {
	texts := rules()
	ids := slices.Sorted(maps.Keys(texts))
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "hssgate", InformationURI: homepage, Version: r.Version, Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{r.sarifInvocation()}, Results: []sarifResult{}, ColumnKind: "unicodeCodePoints",
	}
	for _, id := range ids {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: string(id), ShortDescription: sarifText{texts[id]}, Defaults: sarifDefaults{"error"},
			Help: sarifText{texts[id] + " What is allowed is in the ImageScanPolicy that the result names."},
		})
	}
	for i := range r.Results {
		run.Results = append(run.Results, r.Results[i].sarif(ids)...)
	}
	return writeJSON(w, sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

func (r *Report) sarifInvocation() sarifInvocation {
	i := sarifInvocation{Successful: len(r.Problems) == 0}
	if !r.Time.IsZero() {
		i.EndTime = r.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	for _, p := range r.Problems {
		i.Notifications = append(i.Notifications, p.sarif("error", ""))
	}
	for _, p := range r.Skipped {
		i.Notifications = append(i.Notifications, p.sarif("warning", "skipped: "))
	}
	return i
}

func (p *Problem) sarif(level, prefix string) sarifNotification {
	n := sarifNotification{Level: level, Message: sarifText{prefix + clean(p.Message)}}
	if p.Source != "" {
		n.Locations = []sarifLocation{{Physical: physical(p.Source, p.Line)}}
	}
	return n
}

func (r *Result) sarif(ids []policy.Check) []sarifResult {
	var results []sarifResult
	for i := range r.Violations {
		v := &r.Violations[i]
		for _, f := range v.Findings {
			place, _ := slices.BinarySearch(ids, f.Check)
			results = append(results, sarifResult{
				RuleID: string(f.Check), RuleIndex: place, Level: v.sarifLevel(),
				Message:      sarifText{clean(v.inFull(r, f.Message))},
				Locations:    []sarifLocation{r.location(v)},
				Fingerprints: map[string]string{"hssgate/v1": v.fingerprint(r, f.Check)},
				Properties:   v.sarifProperties(r, f.Check),
			})
		}
	}
	return results
}

// maxSARIFVulnerabilities bounds the identifiers in a property.
const maxSARIFVulnerabilities = 100

// sarifProperties tell what a program may look for: of what counts
// vulnerabilities, which are listed.
func (v *Violation) sarifProperties(r *Result, c policy.Check) map[string]string {
	properties := map[string]string{"policy": v.Policy, "image": v.Reference, "effect": string(v.Effect)}
	if c != policy.CheckVulnerabilities && c != policy.CheckSeverityLevel {
		return properties
	}
	for i := range r.Images {
		if one := &r.Images[i]; one.Reference == v.Reference && one.Listed != nil {
			if ids := one.Listed.ids(); len(ids) > 0 {
				properties["vulnerabilities"] = strings.Join(ids[:min(len(ids), maxSARIFVulnerabilities)], " ")
			}
			break
		}
	}
	return properties
}

func (v *Violation) inFull(r *Result, finding string) string {
	return r.Kind + " " + r.qualifiedName() + ", " + string(v.Place) + " " + v.Name + ": " + v.Reference + ": " + finding + " [policy " + v.Policy + "]"
}

// fingerprint stays the same from run to run while the same image of the same
// object fails the same check of the same policy.
func (v *Violation) fingerprint(r *Result, c policy.Check) string {
	repository, _, _ := strings.Cut(v.Reference, "@")
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Kind, r.qualifiedName(), string(v.Place), v.Name, repository, v.Policy, string(c)}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// sarifLevel is an error also for a workload that is let in and whose pods are
// not: a pipeline that lets only errors fail it would else apply what never runs.
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

func (r *Result) qualifiedName() string {
	return strings.TrimPrefix(r.Namespace+"/"+cmp.Or(r.Owner, r.Name), "/")
}

func (r *Result) location(v *Violation) sarifLocation {
	l := sarifLocation{Logical: []sarifLogical{{Name: cmp.Or(r.Name, "unnamed"), QualifiedName: r.Kind + "/" + r.qualifiedName(), Kind: "resource"}}}
	if r.Source != "" {
		l.Physical = physical(r.Source, r.lineOf(v))
	}
	return l
}

// lineOf is where the image stands, or its object.
func (r *Result) lineOf(v *Violation) int {
	for i := range r.Images {
		if one := &r.Images[i]; one.Place == v.Place && one.Name == v.Name && one.Line > 0 {
			return one.Line
		}
	}
	return r.Line
}

func physical(source string, line int) *sarifPhysical {
	p := &sarifPhysical{Artifact: sarifArtifact{URI: uriPath(source)}}
	if line > 0 {
		p.Region = &sarifRegion{StartLine: line}
	}
	return p
}

// uriPath is a path as a relative URI, as code hosts expect it.
func uriPath(path string) string {
	path = strings.TrimPrefix(filepath.ToSlash(path), "./")
	if filepath.IsAbs(path) {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: path}).String()
}
