package hss_test

import (
	"testing"

	"github.com/hssgate/hssgate/hss"
)

func TestRegionEndpointsAreThoseOfTheOfficialSDK(t *testing.T) {
	t.Parallel()
	// services/hss/v5/region of the official SDK for Go v0.1.207.
	listed := map[string]string{
		"ae-ad-1":          "https://hss.ae-ad-1.myhuaweicloud.com",
		"af-south-1":       "https://hss.af-south-1.myhuaweicloud.com",
		"ap-southeast-1":   "https://hss.ap-southeast-1.myhuaweicloud.com",
		"ap-southeast-2":   "https://hss.ap-southeast-2.myhuaweicloud.com",
		"ap-southeast-3":   "https://hss.ap-southeast-3.myhuaweicloud.com",
		"ap-southeast-4":   "https://hss.ap-southeast-4.myhuaweicloud.com",
		"cn-east-2":        "https://hss.cn-east-2.myhuaweicloud.com",
		"cn-east-3":        "https://hss.cn-east-3.myhuaweicloud.com",
		"cn-east-4":        "https://hss.cn-east-4.myhuaweicloud.com",
		"cn-east-5":        "https://hss.cn-east-5.myhuaweicloud.com",
		"cn-north-1":       "https://hss.cn-north-1.myhuaweicloud.com",
		"cn-north-11":      "https://hss.cn-north-11.myhuaweicloud.com",
		"cn-north-12":      "https://hss.cn-north-12.myhuaweicloud.com",
		"cn-north-2":       "https://hss.cn-north-2.myhuaweicloud.com",
		"cn-north-4":       "https://hss.cn-north-4.myhuaweicloud.com",
		"cn-north-9":       "https://hss.cn-north-9.myhuaweicloud.com",
		"cn-south-1":       "https://hss.cn-south-1.myhuaweicloud.com",
		"cn-south-2":       "https://hss.cn-south-2.myhuaweicloud.com",
		"cn-south-4":       "https://hss.cn-south-4.myhuaweicloud.com",
		"cn-southwest-2":   "https://hss.cn-southwest-2.myhuaweicloud.com",
		"cn-southwest-3":   "https://hss.cn-southwest-3.myhuaweicloud.com",
		"eu-west-101":      "https://hss.eu-west-101.myhuaweicloud.eu",
		"la-north-2":       "https://hss.la-north-2.myhuaweicloud.com",
		"la-south-2":       "https://hss.la-south-2.myhuaweicloud.com",
		"me-east-1":        "https://hss.me-east-1.myhuaweicloud.com",
		"my-kualalumpur-1": "https://hss.my-kualalumpur-1.myhuaweicloud.com",
		"na-mexico-1":      "https://hss.na-mexico-1.myhuaweicloud.com",
		"ru-moscow-1":      "https://hss.ru-moscow-1.myhuaweicloud.com",
		"sa-brazil-1":      "https://hss.sa-brazil-1.myhuaweicloud.com",
		"tr-west-1":        "https://hss.tr-west-1.myhuaweicloud.com",
	}
	for region, want := range listed {
		got, err := hss.RegionEndpoint(region)
		if err != nil || got != want {
			t.Errorf("%s gives %q, %v; want %q", region, got, err, want)
		}
	}
}
