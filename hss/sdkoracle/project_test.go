package sdkoracle_test

import (
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	hssv5 "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
	hssregion "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/region"
	iamregion "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3/region"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

const regionID = "cn-north-4"

// sdkInRegion is the official client without a project ID. The SDK keeps these by access key: each test needs one of its own.
func sdkInRegion(t *testing.T, url string, c hsstest.Credential) (*hssv5.HssClient, error) {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(c.AccessKey).WithSk(c.SecretKey).WithIamEndpointOverride(url).SafeBuild()
	must(t, err)
	client, err := hssv5.HssClientBuilder().WithRegion(region.NewRegion(regionID, url)).WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig()).SafeBuild()
	if err != nil {
		return nil, err
	}
	return hssv5.NewHssClient(client), nil
}

// usInRegion is hssgate's client without a project ID.
func usInRegion(t *testing.T, url string, c hsstest.Credential) *hss.Client {
	t.Helper()
	return newClient(t, hss.Config{Endpoint: url, Region: regionID, IAMEndpoint: url}, c)
}

// TestBothClientsFindTheSameProject compares the project that HSS is asked for, where IAM knows one, none or several.
func TestBothClientsFindTheSameProject(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		projects []hsstest.IAMProject
		want     string // in the error
	}{
		"one":     {[]hsstest.IAMProject{{ID: "p1", Name: regionID}, {ID: "p2", Name: "eu-west-101"}}, ""},
		"none":    {[]hsstest.IAMProject{{ID: "p2", Name: "eu-west-101"}}, "not enabled"},
		"several": {[]hsstest.IAMProject{{ID: "p1", Name: regionID}, {ID: "p3", Name: regionID}}, "p1, p3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := hsstest.Credential{AccessKey: "AK" + name, SecretKey: "SK"}
			s := serve(t, hsstest.WithCredentials(key), hsstest.WithIAMProjects(tc.projects...), hsstest.WithImages(hsstest.Image{ImageName: "app", ProjectID: "p1"}))
			sdk, sdkErr := sdkInRegion(t, s.URL, key)
			page, err := usInRegion(t, s.URL, key).List(t.Context(), hss.ListRequest{})
			if tc.want != "" {
				if sdkErr == nil || err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("the SDK's error is %v, ours %v, want %q in it", sdkErr, err, tc.want)
				}
				return
			}
			if sdkErr != nil || err != nil || page.Total != 1 {
				t.Fatalf("the SDK's error is %v, ours %v", sdkErr, err)
			}
			theirs, err := sdk.ListRegistryImages(&model.ListRegistryImagesRequest{})
			if err != nil || *theirs.TotalNum != 1 {
				t.Errorf("the SDK got %v, %v", theirs, err)
			}
		})
	}
}

// TestBothClientsAskIAMTheSame compares the requests that IAM gets.
func TestBothClientsAskIAMTheSame(t *testing.T) {
	t.Parallel()
	const projects = `{"projects":[{"id":"p1","name":"cn-north-4"}]}`
	key := hsstest.DefaultCredential()
	theirs := record(t, projects, func(s *hsstest.Server) error {
		_, err := sdkInRegion(t, s.URL, key)
		return err
	})
	ours := record(t, projects, func(s *hsstest.Server) error {
		_, err := usInRegion(t, s.URL, key).ProjectID(t.Context())
		return err
	})
	wantSame(t, theirs, ours)
}

// TestBothKnowTheSameIAMEndpoints compares IAM's hosts in all regions that the SDK knows HSS in.
func TestBothKnowTheSameIAMEndpoints(t *testing.T) {
	t.Parallel()
	_, unknown := hssregion.SafeValueOf("none") // it lists all that there are
	_, list, _ := strings.Cut(unknown.Error(), "[")
	regions := strings.Split(strings.TrimSuffix(list, "]"), ", ")
	if len(regions) < 30 {
		t.Fatalf("the SDK knows HSS in %q", regions)
	}
	for _, id := range regions {
		want := "https://iam.myhuaweicloud.com" // where the SDK knows no other
		if known, err := iamregion.SafeValueOf(id); err == nil {
			want = known.Endpoints[0]
		}
		if got, err := hss.IAMEndpoint(id); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", id, got, err, want)
		}
	}
}
