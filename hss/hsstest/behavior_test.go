package hsstest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestABehaviorRoundTripsAsText(t *testing.T) {
	t.Parallel()
	var all []string
	for _, s := range hsstest.Switches() {
		all = append(all, s.Name+"="+s.Values[len(s.Values)-1])
		b, err := hsstest.ParseBehavior(s.Name + "=" + s.Values[0])
		if err != nil || b != (hsstest.Behavior{}) {
			t.Errorf("the default %s=%s is %v, %v", s.Name, s.Values[0], b, err)
		}
	}
	text := strings.Join(all, ",")
	b, err := hsstest.ParseBehavior(" " + strings.ReplaceAll(text, ",", " , "))
	if err != nil || b.String() != text {
		t.Errorf("%s became %s, %v", text, b, err)
	}
	defer func() {
		if err := fmt.Sprint(recover()); !strings.Contains(err, `ids is "string", allowed: number, text`) {
			t.Errorf("a value that is not documented panics with %s", err)
		}
	}()
	hsstest.WithBehavior(hsstest.Behavior{IDs: "string"})
}

// multi is an image with two architectures, of which the second has a vulnerability.
func multi() hsstest.Image {
	scanned := newClock().Now().Add(-time.Hour)
	none, one := hsstest.Count(0), hsstest.Count(1)
	return hsstest.Image{
		ID: 1, Namespace: "prod", ImageName: "team/app", ImageVersion: "1.0", ImageType: "private_image", ImageDigest: "sha256:0a", MultiArch: true,
		ScanStatus: "success", SeverityLevel: "Medium", ImageSize: 5, LatestScanTime: scanned, LatestUpdateTime: scanned.Add(-time.Hour),
		VulNum: one, UnsafeSettingNum: none, MaliciousFileNum: none,
		AssociationImages: []hsstest.Architecture{
			{ID: 2, Namespace: "prod", ImageName: "team/app", ImageVersion: "1.0", ImageDigest: "sha256:0b", ScanStatus: "success",
				VulNum: none, UnsafeSettingNum: none, MaliciousFileNum: none},
			{ID: 3, Namespace: "prod", ImageName: "team/app", ImageVersion: "1.0", ImageDigest: "sha256:0c", ScanStatus: "success",
				VulNum: one, UnsafeSettingNum: none, MaliciousFileNum: none},
		},
	}
}

func TestEverySwitchChangesWhatIsListed(t *testing.T) {
	t.Parallel()
	single := func(change func(*hsstest.Image)) hsstest.Image {
		row := multi()
		row.MultiArch, row.AssociationImages = false, nil
		change(&row)
		return row
	}
	asIs := func(*hsstest.Image) {}
	status := func(s string) func(*hsstest.Image) { return func(row *hsstest.Image) { row.ScanStatus = s } }
	never := single(func(row *hsstest.Image) {
		row.ScanStatus, row.SeverityLevel, row.LatestScanTime, row.VulNum = "unscan", "", time.Time{}, nil
	})
	pushed := single(func(row *hsstest.Image) { row.LatestUpdateTime = row.LatestScanTime.Add(time.Minute) })
	harbor := single(func(row *hsstest.Image) { row.ImageType = "harbor" })
	ms := func(hours int) string {
		return fmt.Sprint(newClock().Now().Add(time.Duration(hours) * time.Hour).UnixMilli())
	}
	for behavior, tt := range map[string]struct {
		row   hsstest.Image
		query string
		want  []string // what is in the answer, or after "!" is not
	}{
		"filters=substring":           {single(asIs), "namespace=ro", []string{`"image_name"`}},
		"ids=text":                    {multi(), "", []string{`"id":"1"`, `"id":"3"`}},
		"sizes=unit":                  {single(asIs), "", []string{`"image_size":"5 Bytes"`}},
		"times=text":                  {single(asIs), "", []string{`"latest_scan_time":"` + ms(-1) + `"`}},
		"times=seconds":               {single(asIs), "", []string{`"latest_scan_time":` + ms(-1)[:10], "!" + ms(-1)}},
		"statuses=capitalised":        {multi(), "", []string{`"scan_status":"Success"`, `!"success"`}},
		"digests=bare":                {multi(), "", []string{`"image_digest":"0a"`, `"image_digest":"0b"`}},
		"digests=upper":               {multi(), "", []string{`"image_digest":"sha256:0A"`, `"image_digest":"sha256:0B"`}},
		"nested-names=dollar":         {single(asIs), "image_name=team$app", []string{`"image_name":"team$app"`}},
		"nested-names=escaped":        {single(asIs), "image_name=team%252Fapp", []string{`"image_name":"team%2Fapp"`}},
		"third-party=path":            {harbor, "", []string{`"namespace":""`, `"image_name":"prod/team/app"`}},
		"enterprise-projects=default": {single(func(row *hsstest.Image) { row.EnterpriseProjectID = "e" }), "enterprise_project_id=all_granted_eps", []string{`"total_num":0`}},
		"architectures=rows":          {multi(), "", []string{`"total_num":3`, `"sha256:0a"`, `"sha256:0c"`, `"severity_level":"Security"`, "!association_images"}},
		"architectures=only":          {multi(), "", []string{`"total_num":2`, `!"sha256:0a"`}},
		"parent-digest=first":         {multi(), "", []string{`!"sha256:0a"`}},
		"parent-digest=empty":         {multi(), "", []string{`!"sha256:0a"`}},
		"parent-level=first":          {multi(), "", []string{`"severity_level":"Security"`}},
		"single-architecture=null":    {single(asIs), "", []string{`"association_images":null`}},
		"single-architecture=empty":   {single(asIs), "", []string{`"association_images":[]`}},
		"single-architecture=itself":  {single(asIs), "", []string{`"association_images":[{`}},
		"update-time=build":           {single(asIs), "", []string{"!" + ms(-2)}},
		"update-time=touched":         {single(func(row *hsstest.Image) { row.LatestUpdateTime = row.LatestUpdateTime.AddDate(0, 0, -3) }), "", []string{`"latest_update_time":` + ms(-11)}},
		"scan-time=start":             {single(status("scanning")), "", []string{"!" + ms(-1)}},
		"pushed-again=unscan":         {pushed, "", []string{`"scan_status":"unscan"`, "!vul_num", "!severity_level"}},
		"pushed-again=unnoticed":      {pushed, "", []string{`"image_digest":"` + hsstest.DigestBefore("sha256:0a"), `"latest_update_time":` + ms(-2)}},
		"severity-scale=seven":        {single(asIs), "", []string{`"severity_level":"High"`}},
		"severity-scale=critical":     {single(func(row *hsstest.Image) { row.SeverityLevel = "High" }), "", []string{`"severity_level":"Critical"`}},
		"unscanned-level=Security":    {never, "", []string{`"severity_level":"Security"`}},
		"rescan=dropped":              {single(status("scanning")), "", []string{"!severity_level"}},
		"rescan=reset":                {single(status("scanning")), "", []string{`"severity_level":"Security"`, `"vul_num":0`}},
		"unscanned-counts=zero":       {never, "", []string{`"vul_num":0`}},
		"unscanned-counts=missing":    {single(status("failed")), "", []string{"!vul_num"}},
		"unscanned-counts=null":       {single(status("failed")), "", []string{`"vul_num":null`}},
		"unscanned-counts=earlier":    {never, "", []string{`"vul_num":0`, `"severity_level":"Security"`, "latest_scan_time"}},
		"vulnerability-count=ids": {single(func(row *hsstest.Image) {
			row.VulNum, row.Vulnerabilities = hsstest.Count(2), []hsstest.Vulnerability{{VulID: "CVE-1"}, {VulID: "CVE-1"}}
		}), "", []string{`"vul_num":1`}},
		"vulnerability-count=unhandled": {single(func(row *hsstest.Image) {
			row.Vulnerabilities = []hsstest.Vulnerability{{VulID: "CVE-1"}, {VulID: "CVE-1"}, {VulID: "CVE-2", Status: "vul_status_ignored"}}
		}), "", []string{`"vul_num":2`}},
		"paging=repeated": {single(asIs), "offset=1", []string{`"image_name"`}},
		"page-size=ten":   {single(asIs), "limit=20", []string{`"image_name"`}},
		"total=page":      {single(asIs), "offset=1", []string{`"total_num":0`}},
		"total=zero":      {single(asIs), "", []string{`"total_num":0`, `"image_name"`}},
		"total=missing":   {single(asIs), "", []string{"!total_num"}},
		"past-end=null":   {single(asIs), "offset=1", []string{`"data_list":null`}},
		"past-end=last":   {single(asIs), "offset=1", []string{`"image_name"`}},
	} {
		b, err := hsstest.ParseBehavior(behavior)
		if err != nil {
			t.Fatal(err)
		}
		h := open(t, hsstest.WithImages(tt.row), hsstest.WithBehavior(b), hsstest.WithClock(newClock().Now))
		got := ask(t, h, tt.query)
		for _, want := range tt.want {
			want, unwanted := strings.CutPrefix(want, "!")
			if got.Status != http.StatusOK || strings.Contains(got.Raw, want) == unwanted {
				t.Errorf("%s: %d %s, %s in it: want %t", behavior, got.Status, got.Raw, want, !unwanted)
			}
		}
	}
}
