package hss

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	serviceIAM = "IAM"
	// lookUpTimeout bounds a look-up of the project ID with its retries.
	lookUpTimeout = 30 * time.Second
	// lookUpPause is the least time between two look-ups of which the first failed.
	lookUpPause = time.Second
)

// RegionEndpoint returns HSS's endpoint in a region, such as https://hss.cn-north-4.myhuaweicloud.com for cn-north-4.
// It checks the form of the name, not whether there is such a region.
func RegionEndpoint(region string) (string, error) { return regionEndpoint("hss", region) }

// IAMEndpoint returns IAM's endpoint for a region: that of the environment variable HUAWEICLOUD_SDK_IAM_ENDPOINT, which
// the official SDK reads too, or the region's own.
func IAMEndpoint(region string) (string, error) {
	endpoint := getenv("HUAWEICLOUD_SDK_IAM_ENDPOINT")
	switch {
	case strings.Contains(endpoint, "://"):
		return endpoint, nil
	case endpoint != "":
		return "https://" + endpoint, nil
	case slices.Contains([]string{"cn-north-11", "cn-south-4", "cn-southwest-3"}, region): // the SDK has no IAM there
		return "https://iam.myhuaweicloud.com", nil
	}
	return regionEndpoint("iam", region)
}

func regionEndpoint(service, region string) (string, error) {
	const longest = 63 // it becomes part of a host name
	if len(region) > longest || !regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`).MatchString(region) {
		return "", fmt.Errorf("region %s is not of the form cn-north-4", excerpt(region))
	}
	domain := "myhuaweicloud.com"
	if region == "eu-west-101" {
		domain = "myhuaweicloud.eu"
	}
	return "https://" + service + "." + region + "." + domain, nil
}

// parseEndpoint validates an endpoint: https, unless the host is this machine or insecure is true, as a token would be
// sent in the clear.
func parseEndpoint(endpoint string, insecure bool) (*url.URL, error) {
	// Before anything repeats the endpoint, which may hold a password.
	if strings.Contains(endpoint, "@") {
		return nil, errors.New("endpoint must not contain a user name or password")
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	switch {
	case u.Hostname() == "":
		return nil, fmt.Errorf("endpoint %q has no host; it must be like https://hss.cn-north-4.myhuaweicloud.com", endpoint)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("endpoint %q must not have a query or fragment", endpoint)
	case u.Scheme == "http" && (insecure || isLoopback(u.Hostname())), u.Scheme == "https":
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		return u, nil
	}
	return nil, fmt.Errorf("endpoint %q must be https; http is allowed for this machine, or if insecure endpoints are", endpoint)
}

// isLoopback reports whether host is this machine, by a name or address that needs no look-up.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// checkProjectID rejects what could not stand in the path as it is.
func checkProjectID(id string) error {
	if id == "" {
		return errors.New("no project ID: neither the configuration nor the credentials have one, " +
			"and no region is given to find it by")
	}
	if len(id) > 64 || strings.Trim(id, idCharacters) != "" {
		return fmt.Errorf("project ID %s may have 1 to 64 letters, digits, - and _", excerpt(id))
	}
	return nil
}

// idCharacters are those that a project ID may have.
const idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// ProjectError reports that the ID of a region's project could not be found through IAM.
type ProjectError struct {
	Region string
	// IDs are those of several projects of the region; with one or none and no Err, the account has no project there.
	IDs []string
	// Err is why IAM gave no answer, or nil.
	Err error
}

// Error describes what is wrong and what to do.
func (e *ProjectError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("cannot find the project ID of region %s through IAM: %s", e.Region, e.Err)
	case len(e.IDs) > 1:
		return fmt.Sprintf("the account has %d projects named %s (%s): set projectID to one of them",
			len(e.IDs), e.Region, strings.Join(e.IDs, ", "))
	}
	return fmt.Sprintf("region %s is not enabled for the account of these credentials, since IAM has no project of that name: "+
		"enable the region, or set projectID", e.Region)
}

// Unwrap returns why IAM gave no answer.
func (e *ProjectError) Unwrap() error { return e.Err }

// projectFinder finds the ID of a region's project through IAM, once for each account: it never changes.
type projectFinder struct {
	iam    *Client
	region string
	slot   chan struct{} // held by the caller that uses what follows

	account string // of the result
	id      string
	err     error
	until   time.Time // when err expires
}

// newProjectFinder returns nil if no project has to be found, or none can be.
func newProjectFinder(config Config) (*projectFinder, error) {
	if config.ProjectID != "" || config.Region == "" {
		return nil, nil
	}
	iam, err := newIAMClient(config)
	if err != nil {
		return nil, err
	}
	return &projectFinder{slot: make(chan struct{}, 1), iam: iam, region: config.Region}, nil
}

// newIAMClient returns a client of IAM.
func newIAMClient(config Config) (*Client, error) {
	address := config.IAMEndpoint
	if address == "" {
		var err error
		if address, err = IAMEndpoint(config.Region); err != nil {
			return nil, err
		}
	}
	endpoint, err := parseEndpoint(address, config.AllowInsecure)
	if err != nil {
		return nil, fmt.Errorf("IAM: %w", err)
	}
	return &Client{config: config, endpoint: endpoint, service: serviceIAM}, nil
}

// find returns the project's ID. However many callers need it, there is one request at a time.
func (f *projectFinder) find(ctx context.Context, c Credentials) (string, error) {
	// Temporary keys and tokens change all the time, and their account does not.
	account := ""
	if c.Token.Empty() && c.SecurityToken.Empty() {
		account = c.AccessKey
	}
	select {
	case f.slot <- struct{}{}:
		defer func() { <-f.slot }()
	case <-ctx.Done():
		return "", &ProjectError{Region: f.region, Err: context.Cause(ctx)}
	}
	if account != f.account || f.id == "" && !time.Now().Before(f.until) {
		id, err := f.lookUp(ctx)
		if err != nil && ctx.Err() != nil {
			return "", err // another caller may have more time
		}
		f.account, f.id, f.err, f.until = account, id, err, time.Now().Add(lookUpPause)
	}
	return f.id, f.err
}

// lookUp requests the projects that have the region's name (KeystoneListProjects).
func (f *projectFinder) lookUp(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	request := &call{path: "/v3/projects", query: url.Values{"name": {f.region}}}
	_, ids, err := listPage(ctx, f.iam, request, "projects", func(o *object) string { return o.text("id") })
	if err == nil && len(ids) == 1 {
		return ids[0], nil
	}
	return "", &ProjectError{Region: f.region, IDs: ids, Err: err}
}
