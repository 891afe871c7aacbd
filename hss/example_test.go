package hss_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/hssgate/hssgate/hss"
)

// exampleServer stands in for HSS.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("offset") != "":
			_, _ = fmt.Fprint(w, `{"total_num":2,"data_list":[]}`)
		case r.URL.Query().Get("namespace") == "forbidden":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"error_code":"HSS.0013","error_description":"no permission"}`)
		default:
			_, _ = fmt.Fprint(w, `{"total_num":2,"data_list":[
				{"id":1,"image_name":"app","image_version":"1.4","scan_status":"success","severity_level":"High","vul_num":111},
				{"id":2,"image_name":"app","image_version":"1.5","scan_status":"scanning"}]}`)
		}
	}))
}

// All pages of an organisation, one row after the other.
func ExampleClient_All() {
	server := exampleServer()
	defer server.Close()
	client, err := hss.NewClient(hss.Config{
		Endpoint:    server.URL, // hss.RegionEndpoint("cn-north-4") in earnest
		ProjectID:   "0123456789abcdef",
		Credentials: hss.StaticCredentials(hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret("SK")}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for image, err := range client.All(context.Background(), hss.ListRequest{Namespace: "prod"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(image.Name, image.Version, image.ScanStatus, image.Severity)
	}
	// Output:
	// app 1.4 success High
	// app 1.5 scanning
}

// What HSS answered in place of a list.
func ExampleError() {
	server := exampleServer()
	defer server.Close()
	client, err := hss.NewClient(hss.Config{
		Endpoint: server.URL, ProjectID: "0123456789abcdef",
		Credentials: hss.StaticCredentials(hss.Credentials{Token: hss.NewSecret("a token of IAM")}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.List(context.Background(), hss.ListRequest{Namespace: "forbidden"})
	if answer, ok := errors.AsType[*hss.Error](err); ok {
		fmt.Println(answer.StatusCode, answer.Code, answer.Description, answer.Retryable)
	}
	// Output:
	// 400 HSS.0013 no permission false
}
