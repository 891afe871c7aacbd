package sdkoracle_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// unscanned is a row that a synchronisation brings, and that nobody scanned.
func unscanned() hsstest.Image {
	return hsstest.Image{ID: 42, ImageName: "app", ImageVersion: "1", ImageID: "aa", ImageDigest: "sha256:aa", ImageType: "private_image",
		Namespace: "组织", RegistryID: "r1", RegistryName: "swr & co", RegistryType: "SwrPrivate", InstanceID: "i", InstanceURL: "u",
		ScanStatus: "unscan", Hidden: true}
}

func TestTheSDKSynchronisesScansAndFollows(t *testing.T) {
	t.Parallel()
	s := serve(t, hsstest.WithImages(unscanned()), hsstest.WithScanTimes(0, -1, 0),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Name: "swr & co", Type: "SwrPrivate", Address: "swr.example.com"}))
	client := sdkClient(t, s, hsstest.DefaultCredential())
	registries, err := client.ListRegistry(&model.ListRegistryRequest{EnterpriseProjectId: new("0"), Offset: new(int32(0)), Limit: new(int32(100))})
	if err != nil {
		t.Fatal(err)
	}
	want := &model.ListRegistryResponse{HttpStatusCode: 200, TotalNum: new(int32(1)), DataList: &[]model.RegistryInfo{{
		Id: new("r1"), RegistryName: new("swr & co"), RegistryType: new("SwrPrivate"),
		RegistryAddr: new("swr.example.com")}}}
	if diff := cmp.Diff(want, registries); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	if _, err := client.CreateImageSynchronizeTask(syncing()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateManualImageScanTask(scanning()); err != nil {
		t.Fatal(err)
	}
	if row := s.Images()[0]; row.Hidden || row.ScanStatus != "scanning" {
		t.Errorf("the row is %+v", row)
	}
	if got := s.Stats(); got.Scans != 1 || got.Syncs != 1 || got.Failures != 0 {
		t.Errorf("got %+v", got)
	}
}

func scanning() *model.CreateManualImageScanTaskRequest {
	row := unscanned()
	return &model.CreateManualImageScanTaskRequest{EnterpriseProjectId: new("all_granted_eps"), GlobalImageType: new("registry"),
		Body: &model.CreateManualImageScanTaskReqInfo{ScanScope: new(int32(0x7fffffff)), RateLimit: new(int32(0)), IsAll: new(false),
			ImageInfo: &[]model.CreateManualImageScanTaskReqInfoImageInfo{{Id: &row.ID, ImageId: &row.ImageID, ImageDigest: &row.ImageDigest,
				RegistryId: &row.RegistryID, RegistryName: &row.RegistryName, RegistryType: &row.RegistryType, ImageName: &row.ImageName,
				ImageVersion: &row.ImageVersion, Namespace: &row.Namespace, InstanceId: &row.InstanceID, InstanceUrl: &row.InstanceURL}}}}
}

func syncing() *model.CreateImageSynchronizeTaskRequest {
	return &model.CreateImageSynchronizeTaskRequest{EnterpriseProjectId: new("all_granted_eps"),
		Body: &model.CreateImageSynchronizeTaskRequestInfo{SyncAllRegistries: false,
			RegistryInfo: &[]model.CreateImageSynchronizeTaskRequestInfoRegistryInfo{{RegistryId: new("r1"), RegistryType: new("SwrPrivate")}}}}
}

// sent is a request that reached a server.
type sent struct {
	method, uri string
	header      http.Header
	body        []byte
}

// record sends by send, and returns the request that arrived.
func record(t *testing.T, send func(endpoint *hsstest.Server) error) sent {
	t.Helper()
	var got sent
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = sent{r.Method, r.URL.RequestURI(), r.Header, body}
	}))
	defer server.Close()
	if err := send(&hsstest.Server{URL: server.URL}); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestWhatWePostIsWhatTheSDKPosts compares the requests: method, path, query
// and the content of the body.
func TestWhatWePostIsWhatTheSDKPosts(t *testing.T) {
	t.Parallel()
	row := hss.Image{ID: "42", Name: "app", Version: "1", ImageID: "aa", Digest: "sha256:aa", Namespace: "组织", RegistryID: "r1",
		RegistryName: "swr & co", RegistryType: hss.RegistryTypeSWRPrivate, InstanceID: "i", InstanceURL: "u"}
	for name, tc := range map[string]struct {
		sdk func(*testing.T, *hsstest.Server) error
		us  func(*testing.T, *hss.Client) error
	}{
		"a scan": {
			func(t *testing.T, s *hsstest.Server) error {
				_, err := sdkClient(t, s, hsstest.DefaultCredential()).CreateManualImageScanTask(scanning())
				return err
			},
			func(t *testing.T, c *hss.Client) error {
				return c.StartScan(t.Context(), hss.ScanRequest{EnterpriseProjectID: hss.AllGrantedEnterpriseProjects, Image: row})
			},
		},
		"a synchronisation": {
			func(t *testing.T, s *hsstest.Server) error {
				_, err := sdkClient(t, s, hsstest.DefaultCredential()).CreateImageSynchronizeTask(syncing())
				return err
			},
			func(t *testing.T, c *hss.Client) error {
				return c.SyncRegistries(t.Context(), hss.SyncRequest{EnterpriseProjectID: hss.AllGrantedEnterpriseProjects,
					Registries: []hss.SyncRegistry{{ID: "r1", Type: hss.RegistryTypeSWRPrivate}}})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			theirs := record(t, func(s *hsstest.Server) error { return tc.sdk(t, s) })
			ours := record(t, func(s *hsstest.Server) error { return tc.us(t, ourClient(t, s, hsstest.DefaultCredential())) })
			if ours.method != theirs.method || ours.uri != theirs.uri || !sameType(ours, theirs) {
				t.Errorf("got %s %s %v, want %s %s %v", ours.method, ours.uri, ours.header, theirs.method, theirs.uri, theirs.header)
			}
			if diff := cmp.Diff(decoded(t, theirs.body), decoded(t, ours.body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func sameType(a, b sent) bool {
	media := func(s sent) string {
		kind, _, _ := strings.Cut(s.header.Get("Content-Type"), ";")
		return kind
	}
	return media(a) == media(b)
}

func decoded(t *testing.T, body []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return value
}
