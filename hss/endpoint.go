package hss

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// euRegion is the one region that the official SDK lists under another domain.
const euRegion = "eu-west-101"

// maxRegion bounds the name of a region, as it becomes part of a host name.
const maxRegion = 63

// RegionEndpoint returns HSS's endpoint in a region, such as
// https://hss.cn-north-4.myhuaweicloud.com for cn-north-4. It checks the form
// of the name, not whether there is such a region.
func RegionEndpoint(region string) (string, error) { return regionEndpoint("hss", region) }

// IAMEndpoint returns IAM's endpoint for a region: that of the environment
// variable HUAWEICLOUD_SDK_IAM_ENDPOINT, which the official SDK reads too, or
// the region's own. If getenv is nil, os.Getenv is used.
func IAMEndpoint(region string, getenv Getenv) (string, error) {
	if endpoint := getenv.value(envIAMEndpoint); endpoint != "" {
		if !strings.Contains(endpoint, "://") {
			endpoint = "https://" + endpoint
		}
		return endpoint, nil
	}
	switch region {
	case "cn-north-11", "cn-south-4", "cn-southwest-3": // the SDK knows no IAM there
		return "https://iam.myhuaweicloud.com", nil
	}
	return regionEndpoint("iam", region)
}

func regionEndpoint(service, region string) (string, error) {
	form := regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)
	if len(region) > maxRegion || !form.MatchString(region) {
		return "", fmt.Errorf("region %s is not of the form cn-north-4", excerpt([]byte(region)))
	}
	domain := "myhuaweicloud.com"
	if region == euRegion {
		domain = "myhuaweicloud.eu"
	}
	return "https://" + service + "." + region + "." + domain, nil
}

// parseEndpoint checks an endpoint: https, unless the host is this machine
// itself or insecure is true, as a token would be sent in the clear.
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
	case u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("endpoint %q has no host; it should be like https://hss.cn-north-4.myhuaweicloud.com", endpoint)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("endpoint %q must not have a query or fragment", endpoint)
	case u.Scheme == "http" && (insecure || isLoopback(u.Hostname())), u.Scheme == "https":
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		return u, nil
	}
	return nil, fmt.Errorf("endpoint %q must be https; http is allowed for this machine itself, or if insecure endpoints are", endpoint)
}

// isLoopback reports whether host is this machine, by a name or address that
// needs no look-up.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// checkProjectID refuses what could not stand in the path as it is.
func checkProjectID(id string) error {
	if id == "" {
		return errors.New("no project ID: neither the configuration nor the credentials have one, and no region is given to find it by")
	}
	if len(id) > 64 || strings.ContainsFunc(id, notInProjectID) {
		return fmt.Errorf("project ID %s may have 1 to 64 letters, digits, - and _", excerpt([]byte(id)))
	}
	return nil
}

func notInProjectID(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", r)
}
