package hsstest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// rows returns the rows that a row of the inventory is listed as at a time.
func (b *Behavior) rows(of *Image, now time.Time) []*Image {
	if *b == (Behavior{}) {
		return []*Image{of}
	}
	row := &cloneImages([]Image{*of})[0]
	b.setPushedAgain(row)
	b.setCounts(row, now)
	b.setLevel(row)
	b.setTimes(row, now)
	b.setParent(row)
	all := b.split(row)
	for _, r := range all {
		if b.SingleArchitecture == "itself" && !r.MultiArch {
			r.AssociationImages = []Architecture{architectureOf(r)}
		}
		b.spell(&r.Namespace, &r.ImageName, &r.ImageDigest, &r.ScanStatus, r.ImageType)
		for n := range r.AssociationImages {
			a := &r.AssociationImages[n]
			b.spell(&a.Namespace, &a.ImageName, &a.ImageDigest, &a.ScanStatus, a.ImageType)
		}
	}
	return all
}

func isRunning(row *Image) bool {
	return row.ScanStatus == "scanning" || row.ScanStatus == "waiting_for_scan"
}

// neverScanned reports whether no scan of a row has ended.
func neverScanned(row *Image) bool {
	return row.ScanStatus == "unscan" || isRunning(row) && row.LatestScanTime.IsZero()
}

func (b *Behavior) setPushedAgain(row *Image) {
	if row.ScanStatus != "success" || row.LatestScanTime.IsZero() || !row.LatestUpdateTime.After(row.LatestScanTime) {
		return
	}
	switch {
	case b.PushedAgain == "unscan":
		row.ScanStatus, row.SeverityLevel, row.LatestScanTime = "unscan", "", time.Time{}
		setCounts(row, nil)
	case b.PushedAgain == "unnoticed" && !row.LatestSyncTime.After(row.LatestUpdateTime):
		row.ImageDigest = DigestBefore(row.ImageDigest)
		row.LatestUpdateTime = row.LatestScanTime.Add(-time.Hour)
	}
}

// DigestBefore returns the digest that a tag had before it was pushed again, where PushedAgain is "unnoticed".
func DigestBefore(digest string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(digest)))
}

// setCounts sets all counts of a row and its architectures.
func setCounts(row *Image, to *int) {
	row.VulNum, row.UnsafeSettingNum, row.MaliciousFileNum = to, to, to
	for n := range row.AssociationImages {
		a := &row.AssociationImages[n]
		a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum = to, to, to
	}
}

func (b *Behavior) setCounts(row *Image, now time.Time) {
	ended := row.ScanStatus == "success" || isRunning(row) && !neverScanned(row)
	switch {
	case ended && b.VulnerabilityCount == "ids":
		row.VulNum = countOf(row.VulNum, row.Vulnerabilities, func(v *Vulnerability) string { return v.VulID })
	case ended && b.VulnerabilityCount == "unhandled":
		n := 0
		row.VulNum = countOf(row.VulNum, row.Vulnerabilities, func(v *Vulnerability) string {
			if v.Status == statusIgnored {
				return ""
			}
			n++
			return fmt.Sprint(n)
		})
	case ended:
	case b.UnscannedCounts == "zero":
		setCounts(row, new(0))
	case b.UnscannedCounts == "missing", b.UnscannedCounts == null:
		setCounts(row, nil)
	case b.UnscannedCounts == "earlier" && !isRunning(row):
		setCounts(row, new(0))
		row.SeverityLevel, row.LatestScanTime = "Security", now.AddDate(0, -1, 0).Truncate(time.Millisecond)
	}
}

// countOf returns the number of different keys of vulnerabilities but "", or count if none are listed.
func countOf(count *int, listed []Vulnerability, key func(*Vulnerability) string) *int {
	if len(listed) == 0 {
		return count
	}
	keys := map[string]bool{}
	for n := range listed {
		keys[key(&listed[n])] = true
	}
	delete(keys, "")
	return new(len(keys))
}

func (b *Behavior) setLevel(row *Image) {
	switch {
	case b.UnscannedLevel == "Security" && neverScanned(row):
		row.SeverityLevel = "Security"
	case b.Rescan == "dropped" && isRunning(row):
		row.SeverityLevel = ""
	case b.Rescan == "reset" && isRunning(row):
		row.SeverityLevel = "Security"
		setCounts(row, new(0))
	case b.SeverityScale == "seven" && row.SeverityLevel == "Medium":
		row.SeverityLevel = "High"
	case b.SeverityScale == "critical" && row.SeverityLevel == "High":
		row.SeverityLevel = "Critical"
	}
}

// levelOf returns the level of an architecture of which something was found, or that of one without.
func levelOf(a *Architecture, found string) string {
	for _, n := range []*int{a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum} {
		if n == nil || *n > 0 {
			return found
		}
	}
	return "Security"
}

func (b *Behavior) setTimes(row *Image, now time.Time) {
	if b.ScanTime == "start" && row.ScanStatus == "scanning" {
		row.LatestScanTime = now.Add(-time.Minute).Truncate(time.Millisecond)
	}
	switch {
	case b.UpdateTime == "build" && !row.LatestUpdateTime.IsZero():
		row.LatestUpdateTime = row.LatestUpdateTime.AddDate(0, -1, 0).Truncate(24 * time.Hour) // one build may have several tags, pushed later
	case b.UpdateTime == "touched":
		if night := now.UTC().Add(-time.Hour).Truncate(24 * time.Hour).Add(time.Hour); night.After(row.LatestUpdateTime) {
			row.LatestUpdateTime = night
		}
	}
}

func (b *Behavior) setParent(row *Image) {
	switch {
	case len(row.AssociationImages) == 0:
		if b.SingleArchitecture == "empty" {
			row.AssociationImages = []Architecture{}
		}
	case b.ParentDigest == "first":
		row.ImageDigest = row.AssociationImages[0].ImageDigest
	case b.ParentDigest == "empty":
		row.ImageDigest = ""
	}
}

// split gives the architectures of a row rows of their own.
func (b *Behavior) split(row *Image) []*Image {
	architectures, level := row.AssociationImages, row.SeverityLevel
	if b.ParentLevel == "first" && len(architectures) > 0 && level != "" {
		row.SeverityLevel = levelOf(&architectures[0], level)
	}
	if b.Architectures != "rows" && b.Architectures != "only" || len(architectures) == 0 {
		return []*Image{row}
	}
	var all []*Image
	if row.AssociationImages = nil; b.Architectures == "rows" {
		all = append(all, row)
	}
	for n := range architectures {
		a, child := &architectures[n], *row
		child.MultiArch = false
		child.ID, child.ImageID, child.ImageDigest, child.ScanStatus = a.ID, a.ImageID, a.ImageDigest, a.ScanStatus
		child.VulNum, child.UnsafeSettingNum, child.MaliciousFileNum = a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum
		child.Vulnerabilities, child.SeverityLevel = a.Vulnerabilities, levelOf(a, level)
		all = append(all, &child)
	}
	return all
}

// architectureOf returns a row as its only architecture.
func architectureOf(row *Image) Architecture {
	return Architecture{ID: row.ID, Namespace: row.Namespace, ImageName: row.ImageName, ImageVersion: row.ImageVersion, ImageID: row.ImageID,
		ImageDigest: row.ImageDigest, ImageType: row.ImageType, ScanStatus: row.ScanStatus,
		VulNum: row.VulNum, UnsafeSettingNum: row.UnsafeSettingNum, MaliciousFileNum: row.MaliciousFileNum}
}

// spell writes names, digest and status as HSS may.
func (b *Behavior) spell(namespace, name, digest, status *string, imageType string) {
	if b.ThirdParty == "path" && (imageType == "harbor" || imageType == "jfrog") {
		*namespace, *name = "", *namespace+"/"+*name
	}
	switch b.NestedNames {
	case "dollar":
		*name = strings.ReplaceAll(*name, "/", "$")
	case "escaped":
		*name = strings.ReplaceAll(*name, "/", "%2F")
	}
	switch hexadecimal, ok := strings.CutPrefix(*digest, "sha256:"); {
	case ok && b.Digests == "bare":
		*digest = hexadecimal
	case ok && b.Digests == "upper":
		*digest = "sha256:" + strings.ToUpper(hexadecimal)
	}
	if b.Statuses == "capitalised" && *status != "" {
		*status = strings.ToUpper((*status)[:1]) + (*status)[1:]
	}
}

// wire returns a listed row as it is sent.
func (b *Behavior) wire(row Image) any {
	sent := Behavior{IDs: b.IDs, Sizes: b.Sizes, Times: b.Times}
	if b.UnscannedCounts == null || b.SingleArchitecture == null || sent != (Behavior{}) {
		return b.fields(row, row.AssociationImages)
	}
	return row
}

// field returns the value of a field as it is sent.
func (b *Behavior) field(name string, value json.RawMessage) any {
	switch isTime := strings.HasSuffix(name, "_time"); {
	case name == "id" && b.IDs == "text", isTime && b.Times == "text":
		return string(value)
	case isTime && b.Times == "seconds":
		return value[:max(len(value)-3, 1)]
	case name == "image_size" && b.Sizes == "unit":
		return string(value) + " Bytes"
	}
	return value
}

// fields returns the fields of a row, or of an architecture.
func (b *Behavior) fields(of any, architectures []Architecture) map[string]any {
	var raw map[string]json.RawMessage
	text, err := inventoryfile.Marshal(of)
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	if err != nil {
		panic(err) // it is a plain struct
	}
	fields := map[string]any{}
	for name, value := range raw {
		fields[name] = b.field(name, value)
	}
	for _, name := range []string{"vul_num", "unsafe_setting_num", "malicious_file_num"} {
		if fields[name] == nil && b.UnscannedCounts == null {
			fields[name] = nil
		}
	}
	if len(architectures) == 0 {
		if _, row := of.(Image); row && architectures == nil && b.SingleArchitecture == null {
			fields["association_images"] = nil
		}
		return fields
	}
	all := make([]any, len(architectures))
	for n := range architectures {
		all[n] = b.fields(architectures[n], nil)
	}
	fields["association_images"] = all
	return fields
}
