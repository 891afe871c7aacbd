package hss_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss"
)

// TestNoAnswerTakesMuchMoreMemoryThanItsSize isn't parallel, as it counts what
// the process allocates.
func TestNoAnswerTakesMuchMoreMemoryThanItsSize(t *testing.T) {
	const size, most = 15 << 20, 16
	fill := func(what string) string { return strings.Repeat(what, size/len(what)) }
	list := func(rows string) string { return `{"total_num":1,"data_list":[` + rows + `]}` }
	images := func(c *hss.Client) error {
		_, err := c.List(t.Context(), hss.ListRequest{})
		return err
	}
	for name, tt := range map[string]struct {
		body string
		ask  func(*hss.Client) error
		want string
	}{
		"rows":                  {list(fill(`{},`) + `{}`), images, "there are more than the 200 rows that a page may have"},
		"null rows":             {list(fill(`null,`) + `{}`), images, "there are more than the 200 rows that a page may have"},
		"architectures":         {list(`{"association_images":[` + fill(`{},`) + `{}]}`), images, ""},
		"a name":                {list(`{"image_name":"` + fill("n") + `"}`), images, ""},
		"a name of escapes":     {list(`{"image_name":"` + fill(`\n`) + `"}`), images, ""},
		"a time":                {list(`{"latest_scan_time":"` + fill("9") + `"}`), images, ""},
		"a count":               {list(`{"vul_num":` + fill("9") + `}`), images, ""},
		"a field that isn't":    {list(`{"other":[` + fill(`{"a":[]},`) + `1]}`), images, ""},
		"the name of a field":   {list(`{"` + fill("a") + `":1}`), images, ""},
		"fields":                {list(`{` + fill(`"a":1,`) + `"a":1}`), images, ""},
		"a field many times":    {list(`{` + fill(`"vul_num":1,`) + `"vul_num":1}`), images, ""},
		"a value for a row":     {list(fill("1")), images, ""},
		"an error":              {`{"error_code":"HSS.0001","error_msg":"` + fill("m") + `"}`, images, "HSS"},
		"text that is not JSON": {fill("a"), images, "not JSON"},
		"vulnerabilities": {list(fill(`{},`) + `{}`), func(c *hss.Client) error {
			_, err := every(c.Vulnerabilities(t.Context(), vulnerable()))
			return err
		}, "there are more than the 200 rows"},
		"registries": {list(fill(`{},`) + `{}`), func(c *hss.Client) error {
			_, err := every(c.Registries(t.Context(), hss.RegistryRequest{}))
			return err
		}, "there are more than the 200 rows"},
		"tasks": {list(`{"failed_images":[` + fill(`{},`) + `{}]}`), func(c *hss.Client) error {
			for _, err := range c.Tasks(t.Context(), hss.TaskRequest{Type: hss.TaskTypeScan}) {
				return err
			}
			return nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, "https://hss.example.com", func(c *hss.Config) {
				c.Transport = transportFunc(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(tt.body)), ContentLength: -1}, nil
				})
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.ask(client)
			runtime.ReadMemStats(&after)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %.200v, want %q in it", err, tt.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > most*size {
				t.Errorf("an answer of %d MiB allocated %d MiB, at most %d are allowed", size>>20, used>>20, most*size>>20)
			}
		})
	}
}
