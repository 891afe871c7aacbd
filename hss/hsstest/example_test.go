package hsstest_test

import (
	"context"
	"fmt"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// A client is pointed at the server's URL, with a credential that it accepts.
func Example() {
	server := hsstest.NewServer(hsstest.WithImages(
		hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1.0", ScanStatus: "success", SeverityLevel: "High"},
		hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1.1", ScanStatus: "unscan"},
	))
	defer server.Close()

	key := hsstest.DefaultCredential()
	client, err := hss.NewClient(hss.Config{
		Endpoint:    server.URL,
		ProjectID:   "p1",
		Credentials: hss.StaticCredentials(hss.Credentials{AccessKey: key.AccessKey, SecretKey: hss.NewSecret(key.SecretKey)}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	list, err := client.List(context.Background(), hss.ListRequest{Namespace: "prod", ImageName: "app"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, image := range list.Images {
		fmt.Println(image.Version, image.ScanStatus, image.Severity)
	}
	// Output:
	// 1.0 success High
	// 1.1 unscan
}

// Faults are consumed in order; the client below tries again until none is left.
func ExampleHandler_Inject() {
	server := hsstest.NewServer(hsstest.WithTokens("token"))
	defer server.Close()
	server.Inject(hsstest.StatusFault(503).Times(2), hsstest.CutFault())

	client, err := hss.NewClient(hss.Config{Endpoint: server.URL, ProjectID: "p1",
		Credentials: hss.StaticCredentials(hss.Credentials{Token: hss.NewSecret("token")})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	list, err := client.List(context.Background(), hss.ListRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(list.Total, "rows after", server.Stats().Requests, "requests")
	// Output: 0 rows after 4 requests
}
