package hsstest_test

import (
	"context"
	"fmt"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

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
