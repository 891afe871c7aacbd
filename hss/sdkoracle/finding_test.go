package sdkoracle_test

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	hssv5 "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// found is an image with all that other calls list of it.
func found(at time.Time) hsstest.Image {
	row := full(at)
	row.EnterpriseProjectID = ""
	row.Vulnerabilities = []hsstest.Vulnerability{{VulID: "HCE2-SA-2024-0012", Status: "vul_status_ignored", Description: "后门", Solution: "s", URL: "u",
		RepairNecessity: "immediate_repair",
		CVEs:            []hsstest.CVE{{ID: "CVE-2024-3094", CVSS: new(9.8), PublishedAt: at, Description: "d"}, {ID: "CVE-2024-1", CVSS: new(4.5)}}}}
	row.Secrets = []hsstest.Secret{{ID: "s1", Severity: "critical", Name: "RSA", Description: "d", Position: "layer", FilePath: "/root/id_rsa", Content: "hunter2",
		LatestScanTime: at, HandleStatus: "handled", OperateAccept: "ignore"}}
	row.MaliciousFiles = []hsstest.MaliciousFile{{Name: "xmrig", Path: "/tmp/xmrig", Size: new(5), Description: "d"}}
	return row
}

// drain returns the error of a list.
func drain[T any](rows iter.Seq2[T, error]) error {
	for _, err := range rows {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestBothClientsListFindings(t *testing.T) {
	t.Parallel()
	at := time.Now().Truncate(time.Millisecond)
	all, limit, one := new("all_granted_eps"), new(int32(200)), new(int32(1))
	for name, tc := range map[string]struct {
		sdk  func(*hssv5.HssClient) (any, error)
		want any
		us   func(*hss.Client) error
	}{
		"CVEs": {
			func(c *hssv5.HssClient) (any, error) {
				return c.ListVulnerabilityCve(&model.ListVulnerabilityCveRequest{EnterpriseProjectId: all, Limit: limit, VulId: "HCE2-SA-2024-0012"})
			},
			&model.ListVulnerabilityCveResponse{HttpStatusCode: 200, TotalNum: new(int32(2)), DataList: &[]model.ImageVulCveInfo{
				{CveId: new("CVE-2024-3094"), CvssScore: new(float32(9.8)), PublishTime: new(at.UnixMilli()), Description: new("d")},
				{CveId: new("CVE-2024-1"), CvssScore: new(float32(4.5))}}},
			func(c *hss.Client) error {
				return drain(c.CVEs(t.Context(), hss.CVERequest{EnterpriseProjectID: *all, VulnerabilityID: "HCE2-SA-2024-0012"}))
			},
		},
		"vulnerabilities of all images": {
			func(c *hssv5.HssClient) (any, error) {
				return c.ListGeneralImageVuls(&model.ListGeneralImageVulsRequest{EnterpriseProjectId: all, Limit: limit, Type: "linux_vul", HandleStatus: "handled",
					ImageType: "registry", CveId: new("CVE-2024-3094"), VulId: new("HCE2-SA-2024-0012")})
			},
			&model.ListGeneralImageVulsResponse{HttpStatusCode: 200, TotalNum: one, DataList: &[]model.GeneralImageVulsResponseInfo{{
				VulName: new("HCE2-SA-2024-0012"), VulId: new("HCE2-SA-2024-0012"), Type: new("linux_vul"), ImageType: new("registry"), SeverityLevel: new("Critical"),
				ImageNum: one, MaxCvssScore: new(float32(9.8)), Description: new("后门"), Url: new("u"), SolutionDetail: new("s"),
				CveList: &[]model.GeneralImageVulsResponseInfoCveList{{CveId: new("CVE-2024-3094"), Cvss: new(float32(9.8))},
					{CveId: new("CVE-2024-1"), Cvss: new(float32(4.5))}}}}},
			func(c *hss.Client) error {
				return drain(c.ImageVulnerabilities(t.Context(), hss.ImageVulnerabilityRequest{EnterpriseProjectID: *all, Type: hss.VulnerabilityTypeLinux,
					Handled: true, CVE: "CVE-2024-3094", VulnerabilityID: "HCE2-SA-2024-0012"}))
			},
		},
		"affected images": {
			func(c *hssv5.HssClient) (any, error) {
				return c.ListVulAffectImages(&model.ListVulAffectImagesRequest{EnterpriseProjectId: all, Limit: limit, Type: "linux_vul", IsHandled: true,
					ImageType: "registry", VulId: "HCE2-SA-2024-0012"})
			},
			&model.ListVulAffectImagesResponse{HttpStatusCode: 200, TotalNum: one, DataList: &[]model.VulAffectImagesResponseInfo{{
				ImageId: new("i"), ImageName: new("team/app"), VulId: new("HCE2-SA-2024-0012"), RepairNecessity: new("Critical"), ImageDigest: new("sha256:d"),
				ImageVersion: new("1.0+b"), Status: new("vul_status_ignored"), LatestScanTime: new(fmt.Sprint(at.Add(-2 * time.Hour).UnixMilli())),
				ImageType: new("registry"), Organization: new("组织 a"), RegistryType: new("SwrEnterprise"), RegistryName: new("a&b=c"), IsMultiArch: new("true")}}},
			func(c *hss.Client) error {
				return drain(c.AffectedImages(t.Context(), hss.AffectedImageRequest{EnterpriseProjectID: *all, Type: hss.VulnerabilityTypeLinux, Handled: true,
					VulnerabilityID: "HCE2-SA-2024-0012"}))
			},
		},
		"secrets": {
			func(c *hssv5.HssClient) (any, error) {
				return c.ListImageSensitive(&model.ListImageSensitiveRequest{EnterpriseProjectId: all, Limit: limit, ImageType: "instance_image", ImageId: "i",
					Namespace: new("组织 a"), ImageName: new("team/app"), ImageVersion: new("1.0+b")})
			},
			&model.ListImageSensitiveResponse{HttpStatusCode: 200, TotalNum: one, DataList: &[]model.ImageSensitiveInfo{{
				SensitiveInfoId: new("s1"), Severity: new("critical"), Name: new("RSA"), Description: new("d"), Position: new("layer"), FilePath: new("/root/id_rsa"),
				Content: new("hunter2"), LatestScanTime: new(at.UnixMilli()), HandleStatus: new("handled"), OperateAccept: new("ignore")}}},
			func(c *hss.Client) error {
				return drain(c.Secrets(t.Context(), hss.SecretRequest{EnterpriseProjectID: *all, ImageID: "i", ImageType: hss.ImageTypeInstance,
					Namespace: "组织 a", ImageName: "team/app", Version: "1.0+b"}))
			},
		},
		"malicious files": {
			func(c *hssv5.HssClient) (any, error) {
				return c.ListImageMalware(&model.ListImageMalwareRequest{EnterpriseProjectId: all, Limit: limit, ImageType: "instance_image", ImageId: "i",
					Namespace: new("组织 a"), ImageName: new("team/app"), TagName: new("1.0+b")})
			},
			&model.ListImageMalwareResponse{HttpStatusCode: 200, TotalNum: one, DataList: &[]model.ImageMalwareInfo{{
				FileName: new("xmrig"), FilePath: new("/tmp/xmrig"), Size: new(int32(5)), Description: new("d")}}},
			func(c *hss.Client) error {
				return drain(c.MaliciousFiles(t.Context(), hss.MaliciousFileRequest{EnterpriseProjectID: *all, ImageID: "i", ImageType: hss.ImageTypeInstance,
					Namespace: "组织 a", ImageName: "team/app", Version: "1.0+b"}))
			},
		},
		"scan statistics": {
			func(c *hssv5.HssClient) (any, error) {
				return c.ShowImagePayPerScanStatistics(&model.ShowImagePayPerScanStatisticsRequest{EnterpriseProjectId: all})
			},
			&model.ShowImagePayPerScanStatisticsResponse{HttpStatusCode: 200, RepositoryScanNum: new(int32(0)), CicdScanNum: new(int32(0)),
				FreeQuotaNum: new(int32(10)), AlreadyGiven: new(true), ImageFreeQuota: new(int32(10))},
			func(c *hss.Client) error {
				_, err := c.ScanStatistics(t.Context(), hss.ScanStatisticsRequest{EnterpriseProjectID: *all})
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := hsstest.DefaultCredential()
			got, err := tc.sdk(sdkClient(t, serve(t, hsstest.WithImages(found(at))), key))
			must(t, err)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			const empty = `{"total_num":0,"data_list":[],"repository_scan_num":0}`
			theirs := record(t, empty, func(s *hsstest.Server) error {
				_, err := tc.sdk(sdkClient(t, s, key))
				return err
			})
			theirs.header.Del("Content-Type") // of no body
			wantSame(t, theirs, record(t, empty, func(s *hsstest.Server) error { return tc.us(ourClient(t, s, key)) }))
		})
	}
}
