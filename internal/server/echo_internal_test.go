package server

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/image"
)

// echo is a server that answers each request with the text that answer makes,
// as it goes over the wire.
func echo(t *testing.T, answer string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = connection.Write([]byte(answer))
		_ = connection.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestNoAnswerShowsTheTokenThatAServerEchoes(t *testing.T) {
	t.Parallel()
	const token = `MIIEzQYJKoZIhvcNAQcCoIIEvjCCBLoCAQExDTALBglghkgBZQMEAgEwggMbBgkqhkiG9w0BBwGg/+==-x"y\z<&` // as long as an excerpt
	inJSON, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	escaped := ""
	for _, r := range token {
		escaped += fmt.Sprintf(`\u%04x`, r)
	}
	ok := func(body string) string { return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body }
	bad := func(header, body string) string {
		return "HTTP/1.1 400 Bad\r\nConnection: close\r\n" + header + "\r\n" + body
	}
	row := func(field string, value any) string {
		return ok(fmt.Sprintf(`{"total_num":1,"data_list":[{%s,"%s":%s}]}`, strings.Replace(goodRow(), `"`+field+`"`, `"_"`, 1), field, value))
	}
	for name, answer := range map[string]string{
		"a request id":               bad("X-Request-Id: "+token+"\r\n", "{}"),
		"a trace id":                 bad("X-IAM-Trace-Id: "+token+"\r\n", "{}"),
		"a body's request id":        bad("", `{"error_code":"x","request_id":`+string(inJSON)+`}`),
		"a message":                  bad("", `{"error_msg":`+string(inJSON)+`}`),
		"a message in escapes":       bad("", `{"error_msg":"`+escaped+`"}`),
		"a code":                     bad("", `{"error_code":`+string(inJSON)+`}`),
		"a description":              bad("", `{"error_description":`+string(inJSON)+`}`),
		"an error of IAM":            bad("", `{"error":{"code":`+string(inJSON)+`,"message":`+string(inJSON)+`}}`),
		"another JSON":               bad("", `{"fault":`+string(inJSON)+`}`),
		"a 200 that is an error":     ok(`{"error_code":` + string(inJSON) + `,"error_msg":"` + escaped + `"}`),
		"text":                       bad("", token),
		"text in place of a list":    ok(token),
		"a query":                    bad("", url.QueryEscape(token)),
		"a path":                     bad("", url.PathEscape(token)),
		"a page":                     bad("", "<html><title>"+html.EscapeString(token)+"</title>"),
		"a page's raw title":         bad("", "<html><title>"+token+"</title>"),
		"a status":                   "HTTP/1.1 " + token + " Bad\r\n\r\n",
		"a status' reason":           "HTTP/1.1 400 " + token + "\r\n\r\n",
		"a broken status line":       token + "\r\n\r\n",
		"a protocol":                 token + "/1.1 200 OK\r\n\r\n",
		"a broken header":            "HTTP/1.1 200 OK\r\n" + token + "\r\n\r\n",
		"a length":                   "HTTP/1.1 200 OK\r\nContent-Length: " + token + "\r\n\r\n",
		"an encoding":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + token + "\r\n\r\n",
		"a chunk":                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + token + "\r\n",
		"a redirect":                 "HTTP/1.1 302 Found\r\nLocation: https://" + url.PathEscape(token) + ".example.com/\r\n\r\n",
		"a time to wait":             "HTTP/1.1 503 Busy\r\nRetry-After: " + token + "\r\n\r\n",
		"a name in a row":            row("image_name", inJSON),
		"a row's severity":           row("severity_level", inJSON),
		"a row's severity, escaped":  row("severity_level", `"`+escaped+`"`),
		"a row's status":             row("scan_status", inJSON),
		"why a scan failed":          row("scan_status", `"failed","scan_failed_code":`+string(inJSON)+`,"scan_failed_desc":"`+escaped+`"`),
		"a row's time":               row("latest_scan_time", inJSON),
		"a row's time, escaped":      row("latest_scan_time", `"`+escaped+`"`),
		"a row's time of an object":  row("latest_scan_time", `{`+string(inJSON)+`:`+string(inJSON)+`}`),
		"a row's registry":           row("registry_name", inJSON),
		"a row's flag":               row("is_multiple_arch", inJSON),
		"an architecture's status":   row("association_images", `[{"scan_status":`+string(inJSON)+`}]`),
		"the name of a row's field":  row("a", `1,`+string(inJSON)+`:{}`),
		"a row that is none":         ok(`{"total_num":1,"data_list":[` + string(inJSON) + `]}`),
		"a total":                    ok(`{"total_num":` + string(inJSON) + `}`),
		"a list":                     ok(`{"data_list":` + string(inJSON) + `}`),
		"JSON that ends in the name": ok(`{` + string(inJSON)),
		"JSON that goes wrong":       ok(`{` + string(inJSON) + `:` + token + `}`),
		"JSON that goes on":          ok(`{"data_list":[]}` + string(inJSON)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, map[string]string{"endpoint": echo(t, answer), "credentials": fmt.Sprintf("{source: TokenFile, tokenFile: %q}", secretFile(t, token))}, nil)
			ref, err := image.Parse("main.example.com/prod/app:1")
			if err != nil {
				t.Fatal(err)
			}
			review := d.review(t, "20s", "prod", "Pod", "app")
			explained := d.inventory.Explain(ref)
			shown := fmt.Sprintf("%s %+v %#v %+v", said(review), review, explained, d.inventory.Facts(t.Context(), ref))
			for _, secret := range []string{token, token[:20], string(inJSON), url.QueryEscape(token)[:20]} {
				if strings.Contains(shown, secret) {
					t.Fatalf("%q is shown by %s", secret, shown)
				}
			}
		})
	}
}
