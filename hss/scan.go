package hss

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// ScanRequest requests a scan of one image of a registry, which costs money.
type ScanRequest struct {
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
	// Image is a row of the list.
	Image Image
}

// UnconfirmedError reports that a request which must not be sent twice was sent, and that it is not known whether HSS
// received it: the connection broke, time ran out, or the answer was one of a server in trouble. The list of images
// shows it a little later.
type UnconfirmedError struct {
	// Err is what happened.
	Err error
}

// Error describes what happened.
func (e *UnconfirmedError) Error() string {
	return "not known whether HSS received the request: " + e.Err.Error()
}

// Unwrap returns what happened.
func (e *UnconfirmedError) Unwrap() error { return e.Err }

// StartScan requests a scan now. It returns once HSS has accepted the request, long before the scan ends.
//
// A scan is metered. So the request is only sent again if HSS certainly has not received it: the gateway throttled it
// (429), or no connection could be made. After anything else that is no clear answer the error is an *UnconfirmedError.
// An *Error is HSS's refusal.
func (c *Client) StartScan(ctx context.Context, r ScanRequest) error {
	var problems []string
	i, image := &r.Image, map[string]any{}
	if i.ID == "" && (i.Name == "" || i.Version == "") {
		problems = append(problems, "the image has neither an id nor an image_name and image_version")
	}
	query, err := parameters("scan", r, problems...)
	if err != nil {
		return err
	}
	query.Set("global_image_type", "registry")
	for name, value := range map[string]string{
		"id": i.ID, "image_id": i.ImageID, "image_digest": i.Digest, "registry_id": i.RegistryID, "registry_name": i.RegistryName,
		"registry_type": string(i.RegistryType), "image_name": i.Name, "image_version": i.Version, "namespace": i.Namespace,
		"instance_id": i.InstanceID, "instance_url": i.InstanceURL,
	} {
		if value != "" {
			image[name] = value
		}
	}
	// An int64 by the API's model, and a string in its own example.
	if id, err := strconv.ParseInt(i.ID, 10, 64); err == nil && strconv.FormatInt(id, 10) == i.ID {
		image["id"] = id
	}
	const everything = 0x7fffffff // that HSS looks for
	return c.post(ctx, &call{path: "/image/image-scan/tasks", query: query, once: true},
		map[string]any{"scan_scope": everything, "rate_limit": 0, "is_all": false, "image_info": []any{image}})
}

// ScanStatisticsRequest selects the scans of images that are counted.
type ScanStatisticsRequest struct {
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
}

// ScanStatistics counts the scans of images, which are paid for one by one: ShowImagePayPerScanStatistics of the API. A
// count is nil if it was not sent. It is not documented since when scans are counted.
type ScanStatistics struct {
	// RegistryScans and PipelineScans count successful scans of images in registries and of images in pipelines.
	RegistryScans *int
	PipelineScans *int
	// FreeScans are the free ones, of which ImageFreeScans were given with the console's page of images, if FreeScansGiven.
	FreeScans      *int
	ImageFreeScans *int
	FreeScansGiven bool
}

// ScanStatistics returns how many scans of images were made. An answer that does not count those of registries is an *Error.
func (c *Client) ScanStatistics(ctx context.Context, r ScanStatisticsRequest) (s ScanStatistics, err error) {
	query, err := parameters("scan statistics", r)
	if err != nil {
		return s, err
	}
	decode := func(body []byte, scrub func(string) string) error {
		answer, err := parse(body, scrub)
		if err != nil {
			return err
		}
		s = ScanStatistics{
			RegistryScans: answer.count("repository_scan_num"), PipelineScans: answer.count("cicd_scan_num"), FreeScans: answer.count("free_quota_num"),
			ImageFreeScans: answer.count("image_free_quota"), FreeScansGiven: answer.optional().flag("already_given"),
		}
		switch {
		case answer.text("error_code") != "":
			return errors.New("the answer has an error_code")
		case s.RegistryScans == nil:
			return errors.New("the answer has no repository_scan_num")
		}
		return nil
	}
	err = c.send(ctx, &call{path: "/image/pay-per-scan/statistics", query: query, decode: decode})
	return s, err
}

// unconfirmed wraps an error after which it is not known whether HSS received the request.
func unconfirmed(err error) error {
	if answer, ok := errors.AsType[*Error](err); ok {
		if answer.refuses() {
			return err
		}
		return &UnconfirmedError{Err: err}
	}
	_, broken := errors.AsType[*brokenError](err)
	connection, ok := errors.AsType[*net.OpError](err)
	if !broken || ok && connection.Op == "dial" { // not sent
		return err
	}
	return &UnconfirmedError{Err: err}
}

// post sends a body that HSS answers with nothing.
func (c *Client) post(ctx context.Context, request *call, body any) (err error) {
	if request.body, err = json.Marshal(body); err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	request.decode = checkAccepted
	return c.send(ctx, request)
}

// checkAccepted accepts an answer to a POST that is empty, or an object without an error: other endpoints of HSS answer
// {"error_code":0} for success.
func checkAccepted(body []byte, scrub func(string) string) error {
	text := string(bytes.TrimSpace(body))
	switch {
	case text == "", text == "null":
		return nil
	case text[0] != '{':
		return errors.New("the answer is neither empty nor an object")
	}
	answer, err := parse(body, scrub)
	if err != nil {
		return err
	}
	if code := answer.text("error_code"); len(answer.problems) > 0 || code != "" && code != "0" {
		return errors.New("the answer has an error_code")
	}
	return nil
}
