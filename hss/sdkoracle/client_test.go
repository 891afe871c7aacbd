package sdkoracle_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	hssv5 "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

const project = "p1"

// sdkClient is the official client, unchanged, for one server.
func sdkClient(t *testing.T, s *hsstest.Server, c hsstest.Credential) *hssv5.HssClient {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(c.AccessKey).WithSk(c.SecretKey).
		WithSecurityToken(c.SecurityToken).WithProjectId(project).SafeBuild()
	must(t, err)
	client, err := hssv5.HssClientBuilder().WithEndpoint(s.URL).WithCredential(credentials).SafeBuild()
	must(t, err)
	return hssv5.NewHssClient(client)
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, list ...hsstest.Option) *hsstest.Server {
	t.Helper()
	s := hsstest.NewServer(list...)
	t.Cleanup(s.Close)
	return s
}

// full is a row with all fields, that the request everything asks for.
func full(now time.Time) hsstest.Image {
	return hsstest.Image{
		ID: 42, ProjectID: project, EnterpriseProjectID: "e p/1", Namespace: "组织 a", ImageName: "team/app", ImageVersion: "1.0+b",
		ImageID: "i", ImageDigest: "sha256:d", ImageType: "instance_image", RegistryID: "r", RegistryName: "a&b=c",
		RegistryType: "SwrEnterprise", LatestVersion: true, Scannable: true, MultiArch: true, ScanStatus: "success",
		ScanFailedCode: "unknown_error", ScanFailedDesc: "未知错误", SeverityLevel: "High", VulNum: new(111),
		UnsafeSettingNum: new(2), MaliciousFileNum: new(3), ImageSize: 1000, LatestUpdateTime: now.Add(-time.Hour),
		LatestScanTime: now.Add(-2 * time.Hour), LatestSyncTime: now.Add(-3 * time.Hour), DomainName: "d", SharedStatus: "effective",
		InstanceID: "i-1", InstanceName: "name 1", InstanceURL: "u",
		AssociationImages: []hsstest.Architecture{{ID: 43, Namespace: "n", ImageName: "app", ImageVersion: "1", ImageID: "ai",
			ImageDigest: "sha256:a", ImageType: "instance_image", ScanStatus: "success", VulNum: new(0),
			UnsafeSettingNum: new(0), MaliciousFileNum: new(7)}},
	}
}

// everything sets every parameter that hssgate sends.
func everything(now time.Time) *model.ListRegistryImagesRequest {
	from := new(now.Add(-24 * time.Hour).UnixMilli())
	return &model.ListRegistryImagesRequest{
		EnterpriseProjectId: new("e p/1"), Namespace: new("组织 a"), ImageName: new("team/app"), ImageVersion: new("1.0+b"),
		RegistryName: new("a&b=c"), ImageType: new("instance_image"), SortKey: new("latest_scan_time"), SortDir: new("desc"), Limit: new(int32(200)),
		ScanStatus:            new("success"),
		StartLatestUpdateTime: from, StartLatestScanTime: from, StartLatestSyncTime: from,
	}
}

func TestTheSDKReadsEveryField(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := serve(t, hsstest.WithImages(full(now), hsstest.Image{ID: 1, ImageName: "other"}))
	got, err := sdkClient(t, s, hsstest.DefaultCredential()).ListRegistryImages(everything(now))
	must(t, err)
	image := full(now)
	want := &model.ListRegistryImagesResponse{HttpStatusCode: 200, TotalNum: new(int32(1)), DataList: &[]model.RegistryImagesInfo{{
		Id: new(int64(42)), Namespace: new("组织 a"), ImageName: new("team/app"), ImageId: new("i"), ImageDigest: new("sha256:d"),
		ImageVersion: new("1.0+b"), ImageType: new("instance_image"), RegistryId: new("r"), RegistryName: new("a&b=c"),
		RegistryType: new("SwrEnterprise"), LatestVersion: new(true), ScanStatus: new("success"), ScanFailedDesc: new("未知错误"),
		ScanFailedCode: new("unknown_error"), ImageSize: new(int64(1000)), LatestUpdateTime: new(image.LatestUpdateTime.UnixMilli()),
		LatestScanTime: new(image.LatestScanTime.UnixMilli()), LatestSyncTime: new(image.LatestSyncTime.UnixMilli()),
		VulNum: new(int32(111)), UnsafeSettingNum: new(int32(2)), MaliciousFileNum: new(int32(3)), DomainName: new("d"),
		SharedStatus: new("effective"), Scannable: new(true), IsMultipleArch: new(true), InstanceName: new("name 1"),
		InstanceId: new("i-1"), InstanceUrl: new("u"), SeverityLevel: new("High"),
		AssociationImages: &[]model.AssociateImagesInfo{{Id: new(int64(43)), ImageId: new("ai"), ImageName: new("app"),
			ImageVersion: new("1"), ImageType: new("instance_image"), Namespace: new("n"), ImageDigest: new("sha256:a"),
			ScanStatus: new("success"), VulNum: new(int32(0)), UnsafeSettingNum: new(int32(0)), MaliciousFileNum: new(int32(7))}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheSDKUnderstandsErrors(t *testing.T) {
	t.Parallel()
	key := hsstest.DefaultCredential()
	wrong := hsstest.Credential{AccessKey: key.AccessKey, SecretKey: "no"}
	for name, tc := range map[string]struct {
		key    hsstest.Credential
		limit  int32
		faults []hsstest.Fault
		status int
		code   string
	}{
		"a parameter out of range": {key, 0, nil, 400, "HSS.0001"},
		"a wrong secret key":       {wrong, 10, nil, 401, "APIGW.0301"},
		"a service that is down":   {key, 10, []hsstest.Fault{hsstest.StatusFault(503)}, 503, "APIGW.0503"},
		"too many requests":        {key, 10, []hsstest.Fault{hsstest.ThrottleFault("1")}, 429, "APIGW.0308"},
		"a load balancer's page":   {key, 10, []hsstest.Fault{hsstest.HTMLFault(502)}, 502, ""},
	} {
		s := serve(t)
		s.Inject(tc.faults...)
		_, err := sdkClient(t, s, tc.key).ListRegistryImages(&model.ListRegistryImagesRequest{Limit: &tc.limit})
		var got *sdkerr.ServiceResponseError
		if !errors.As(err, &got) || got.StatusCode != tc.status || got.ErrorCode != tc.code || got.RequestId == "" || got.ErrorMessage == "" {
			t.Errorf("%s: got %v, want %d %s", name, err, tc.status, tc.code)
		}
	}
}

func ourClient(t *testing.T, s *hsstest.Server, c hsstest.Credential) *hss.Client {
	t.Helper()
	return newClient(t, hss.Config{Endpoint: s.URL, ProjectID: project}, c)
}

// newClient makes hssgate's client with a key.
func newClient(t *testing.T, config hss.Config, c hsstest.Credential) *hss.Client {
	t.Helper()
	config.Credentials = hss.StaticCredentials(hss.Credentials{
		AccessKey: c.AccessKey, SecretKey: hss.NewSecret(c.SecretKey), SecurityToken: hss.NewSecret(c.SecurityToken)})
	client, err := hss.NewClient(config)
	must(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// TestBothClientsSendTheSameQuery compares the queries that arrive, signed by temporary credentials.
func TestBothClientsSendTheSameQuery(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Millisecond)
	key := hsstest.Credential{AccessKey: "TEMP", SecretKey: "SK", SecurityToken: "to/ken+=="}
	s := serve(t, hsstest.WithCredentials(key), hsstest.WithImages(full(now)))
	from := now.Add(-24 * time.Hour)
	request := everything(now)
	request.Offset = new(int32(1))
	_, err := sdkClient(t, s, key).ListRegistryImages(request)
	must(t, err)
	want := s.Stats().Queries
	s.ResetStats()
	if _, err := ourClient(t, s, key).List(t.Context(), hss.ListRequest{
		EnterpriseProjectID: "e p/1", Namespace: "组织 a", ImageName: "team/app", ImageVersion: "1.0+b", RegistryName: "a&b=c",
		ImageType: hss.ImageTypeInstance, SortKey: hss.SortByLatestScanTime, SortDir: hss.SortDescending, Offset: 1, Limit: 200,
		ScanStatus:            hss.ScanStatusSuccess,
		StartLatestUpdateTime: from, StartLatestScanTime: from, StartLatestSyncTime: from,
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.Stats().Queries); diff != "" {
		t.Errorf("-SDK +ours:\n%s", diff)
	}
}
