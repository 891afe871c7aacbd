package sdkoracle_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	hssv5 "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// TestBothClientsExchangeTheSameToken compares the requests for keys that arrive. The keys then work.
func TestBothClientsExchangeTheSameToken(t *testing.T) {
	t.Parallel()
	provider := hsstest.IdentityProvider{ID: "my-cluster", Issuer: "i", Subject: "s", Audience: "a"}
	now := time.Now()
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte(provider.Token(now.Add(time.Hour))), 0o600))
	exchanged := func(send func(url string)) (requests []map[string]any) {
		fake := hsstest.NewHandler(hsstest.WithClock(func() time.Time { return now }), hsstest.WithIdentityProviders(provider), hsstest.WithImages(hsstest.Image{ImageName: "app"}))
		defer fake.Close()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				body, _ := io.ReadAll(r.Body)
				requests = append(requests, map[string]any{"path": r.RequestURI, "body": decoded(t, body), "provider": r.Header.Get("X-Idp-Id"),
					"authenticated": r.Header.Get("Authorization") + r.Header.Get("X-Auth-Token") + r.Header.Get("X-Security-Token")})
				again := r.Clone(r.Context())
				again.Body = io.NopCloser(bytes.NewReader(body))
				r = again
			}
			fake.ServeHTTP(w, r)
		}))
		defer server.Close()
		send(server.URL)
		return requests
	}
	theirs := exchanged(func(url string) {
		credentials, err := basic.NewCredentialsBuilder().WithIdpId(provider.ID).WithIdTokenFile(file).WithIamEndpointOverride(url).WithProjectId(project).SafeBuild()
		must(t, err)
		client, err := hssv5.HssClientBuilder().WithEndpoint(url).WithCredential(credentials).SafeBuild()
		must(t, err)
		got, err := hssv5.NewHssClient(client).ListRegistryImages(&model.ListRegistryImagesRequest{})
		must(t, err)
		if *got.TotalNum != 1 {
			t.Errorf("the SDK got %v", got)
		}
	})
	ours := exchanged(func(url string) {
		config := hss.Config{Endpoint: url, IAMEndpoint: url, ProjectID: project}
		config.Credentials = hss.OIDCCredentials(provider.ID, file, config)
		client, err := hss.NewClient(config)
		must(t, err)
		page, err := client.List(t.Context(), hss.ListRequest{})
		must(t, err)
		if page.Total != 1 {
			t.Errorf("we got %v", page)
		}
	})
	if diff := cmp.Diff(theirs, ours); diff != "" || len(ours) != 2 {
		t.Errorf("%d requests; -SDK +ours:\n%s", len(ours), diff)
	}
}
