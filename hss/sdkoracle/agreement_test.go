package sdkoracle_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

func ourClient(t *testing.T, s *hsstest.Server, c hsstest.Credential) *hss.Client {
	t.Helper()
	client, err := hss.NewClient(hss.Config{Endpoint: s.URL, ProjectID: project, Credentials: hss.StaticCredentials(hss.Credentials{
		AccessKey: c.AccessKey, SecretKey: hss.NewSecret(c.SecretKey), SecurityToken: hss.NewSecret(c.SecurityToken)})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// ours is the request of everything.
func ours(now time.Time) hss.ListRequest {
	from, to := now.Add(-24*time.Hour), now
	return hss.ListRequest{
		EnterpriseProjectID: "e p/1", Namespace: "组织 a", ImageName: "team/app", ImageVersion: "1.0+b", RegistryName: "a&b=c",
		ImageType: hss.ImageTypeInstance, SortKey: hss.SortByLatestScanTime, SortDir: hss.SortDescending, Limit: 200,
		LatestVersion: new(true), ImageSize: new(int64(1000)), ScanStatus: hss.ScanStatusSuccess,
		StartLatestUpdateTime: from, EndLatestUpdateTime: to, StartLatestScanTime: from, EndLatestScanTime: to,
		StartLatestSyncTime: from, EndLatestSyncTime: to, HasMaliciousFile: new(true), HasUnsafeSetting: new(true),
		HasVulnerability: new(true), Risky: new(true), MultiArch: new(true), InstanceID: "i-1", InstanceName: "name 1",
		Severity: hss.SeverityHigh,
	}
}

// TestBothClientsAskTheSame compares the queries that arrive.
func TestBothClientsAskTheSame(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Millisecond)
	key := hsstest.DefaultCredential()
	s := serve(t, hsstest.WithImages(full(now)))
	request := everything(now)
	request.Offset = nil // ours doesn't send 0
	if _, err := sdkClient(t, s, key).ListRegistryImages(request); err != nil {
		t.Fatal(err)
	}
	want := s.Stats().Queries
	s.ResetStats()
	if _, err := ourClient(t, s, key).List(t.Context(), ours(now)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.Stats().Queries); diff != "" {
		t.Errorf("-SDK +ours:\n%s", diff)
	}
}

// TestBothClientsReadTheSame compares what they make of one row.
func TestBothClientsReadTheSame(t *testing.T) {
	t.Parallel()
	now := time.Now()
	key := hsstest.DefaultCredential()
	s := serve(t, hsstest.WithImages(full(now)))
	all := hss.AllGrantedEnterpriseProjects
	theirs, err := sdkClient(t, s, key).ListRegistryImages(&model.ListRegistryImagesRequest{EnterpriseProjectId: &all})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ourClient(t, s, key).List(t.Context(), hss.ListRequest{EnterpriseProjectID: all})
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != int(*theirs.TotalNum) || len(got.Images) != len(*theirs.DataList) {
		t.Fatalf("got %d of %d rows", len(got.Images), got.Total)
	}
	sdk, image := (*theirs.DataList)[0], got.Images[0]
	arch := (*sdk.AssociationImages)[0]
	want := hss.Image{
		ID: "42", Namespace: *sdk.Namespace, Name: *sdk.ImageName, ImageID: *sdk.ImageId, Digest: *sdk.ImageDigest,
		Version: *sdk.ImageVersion, Type: hss.ImageType(*sdk.ImageType), RegistryID: *sdk.RegistryId, RegistryName: *sdk.RegistryName,
		RegistryType: hss.RegistryType(*sdk.RegistryType),
		MultiArch:    *sdk.IsMultipleArch, ScanStatus: hss.ScanStatus(*sdk.ScanStatus), ScanFailedCode: *sdk.ScanFailedCode,
		ScanFailedDescription: *sdk.ScanFailedDesc, LatestUpdateTime: time.UnixMilli(*sdk.LatestUpdateTime),
		LatestScanTime: time.UnixMilli(*sdk.LatestScanTime), LatestSyncTime: time.UnixMilli(*sdk.LatestSyncTime),
		Vulnerabilities: new(int(*sdk.VulNum)), UnsafeSettings: new(int(*sdk.UnsafeSettingNum)), MaliciousFiles: new(int(*sdk.MaliciousFileNum)),
		InstanceName: *sdk.InstanceName, InstanceID: *sdk.InstanceId,
		InstanceURL: *sdk.InstanceUrl, Severity: hss.Severity(*sdk.SeverityLevel),
		Architectures: []hss.AssociatedImage{{ID: "43", ImageID: *arch.ImageId, Digest: *arch.ImageDigest,
			ScanStatus: hss.ScanStatus(*arch.ScanStatus), Vulnerabilities: new(int(*arch.VulNum)),
			UnsafeSettings: new(int(*arch.UnsafeSettingNum)), MaliciousFiles: new(int(*arch.MaliciousFileNum))}},
	}
	if diff := cmp.Diff(want, image, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Errorf("-SDK +ours:\n%s", diff)
	}
}
