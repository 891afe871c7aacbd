package sdkoracle_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	hssv5 "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
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
	must(t, err)
	want := &model.ListRegistryResponse{HttpStatusCode: 200, TotalNum: new(int32(1)), DataList: &[]model.RegistryInfo{{
		Id: new("r1"), RegistryName: new("swr & co"), RegistryType: new("SwrPrivate"),
		RegistryAddr: new("swr.example.com")}}}
	if diff := cmp.Diff(want, registries); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	_, err = client.CreateImageSynchronizeTask(syncing())
	must(t, err)
	_, err = client.CreateManualImageScanTask(scanning())
	must(t, err)
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

// record sends one request by send, gives it an answer, and returns what arrived.
func record(t *testing.T, answer string, send func(endpoint *hsstest.Server) error) (got sent) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got.method != "" {
			t.Errorf("a second request: %s %s", r.Method, r.URL)
		}
		got = sent{r.Method, r.URL.RequestURI(), r.Header, body}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	must(t, send(&hsstest.Server{URL: server.URL}))
	return got
}

// wantSame compares requests: method, path, query, the headers that matter and the content of the body. Both must be signed.
func wantSame(t *testing.T, theirs, ours sent) {
	t.Helper()
	shown := func(s sent) map[string]any {
		media, _, _ := strings.Cut(s.header.Get("Content-Type"), ";")
		signed := s.header.Get("Authorization") != ""
		return map[string]any{
			"line": s.method + " " + s.uri, "type": media, "project": s.header.Get("X-Project-Id"), "signed": signed, "body": decoded(t, s.body),
		}
	}
	if diff := cmp.Diff(shown(theirs), shown(ours)); diff != "" || ours.header.Get("Authorization") == "" {
		t.Errorf("-SDK +ours:\n%s\n%v", diff, ours.header)
	}
}

func TestWhatWePostIsWhatTheSDKPosts(t *testing.T) {
	t.Parallel()
	row := hss.Image{ID: "42", Name: "app", Version: "1", ImageID: "aa", Digest: "sha256:aa", Namespace: "组织", RegistryID: "r1",
		RegistryName: "swr & co", RegistryType: hss.RegistryTypeSWRPrivate, InstanceID: "i", InstanceURL: "u"}
	for name, tc := range map[string]struct {
		sdk func(*hssv5.HssClient) error
		us  func(*hss.Client) error
	}{
		"a scan": {
			func(c *hssv5.HssClient) error {
				_, err := c.CreateManualImageScanTask(scanning())
				return err
			},
			func(c *hss.Client) error {
				return c.StartScan(t.Context(), hss.ScanRequest{EnterpriseProjectID: hss.AllGrantedEnterpriseProjects, Image: row})
			},
		},
		"a synchronisation": {
			func(c *hssv5.HssClient) error {
				_, err := c.CreateImageSynchronizeTask(syncing())
				return err
			},
			func(c *hss.Client) error {
				return c.SyncRegistries(t.Context(), hss.SyncRequest{EnterpriseProjectID: hss.AllGrantedEnterpriseProjects,
					Registries: []hss.SyncRegistry{{ID: "r1", Type: hss.RegistryTypeSWRPrivate}}})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantSame(t, record(t, "", func(s *hsstest.Server) error {
				return tc.sdk(sdkClient(t, s, hsstest.DefaultCredential()))
			}), record(t, "", func(s *hsstest.Server) error { return tc.us(ourClient(t, s, hsstest.DefaultCredential())) }))
		})
	}
}

func decoded(t *testing.T, body []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(body, &value); err != nil && len(body) > 0 {
		t.Fatalf("%s: %v", body, err)
	}
	return value
}
