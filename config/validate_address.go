package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// address checks a host:port to listen on; the host may be empty. "0" switches
// off what may be switched off.
func (v *validator) address(field, value string, optional bool) {
	if optional && value == "0" {
		return
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil || (port != "0" && !isPort(port)) || strings.ContainsAny(host, " /") {
		v.failf(field, `must be host:port or :port with a port from 0 to 65535, such as ":9443", not %q`, shorten(value))
	}
}

// isWeb tells of an http:// or https:// address of a host.
func isWeb(u *url.URL) bool { return u.Host != "" && (u.Scheme == "https" || u.Scheme == plain) }

// plain is the scheme of what goes over the network in the clear.
const plain = "http"

// endpoint checks the address of HSS. What may hold a password is not repeated.
func (v *validator) endpoint(field, value string, insecure bool) {
	u, err := url.Parse(value)
	if err != nil || !isWeb(u) {
		v.failf(field, "must be an https:// address such as https://hss.cn-north-4.myhuaweicloud.com")
		return
	}
	if u.User != nil {
		v.failf(field, "must hold no user and no password: credentials say where those are")
		return
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		v.failf(field, "must end after the host: %s://%s", u.Scheme, u.Host)
	}
	if u.Scheme == plain && !insecure && !isLoopback(u.Hostname()) {
		v.failf(field, "must use https, not http; to trust the network all the same, set insecure: true")
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// host checks a registry's host, spelled as references are normalised.
func (v *validator) host(field, value string) {
	name, port, hasPort := value, "", false
	if i := strings.LastIndexByte(value, ':'); i >= 0 && !strings.HasSuffix(value, "]") {
		name, port, hasPort = value[:i], value[i+1:], true
	}
	switch {
	case strings.Contains(value, "://") || strings.Contains(value, "/"):
		v.failf(field, "must be a host without scheme and path, such as swr.cn-north-4.myhuaweicloud.com, not %q", shorten(value))
	case value != strings.ToLower(value):
		v.failf(field, "must be lower-case: %s", shorten(strings.ToLower(value)))
	case isHostName(name) && isFirstPathPart(name) && !hasPort:
		v.failf(field, "must have a port, such as %s:443: without a dot or a port it is read as a path on docker.io", shorten(value))
	case port == "443" && !isFirstPathPart(name):
		v.failf(field, "must leave out :443, the default port: %s", shorten(name))
	case value == "index.docker.io":
		v.failf(field, "must be docker.io, which is how references to index.docker.io are read")
	case hasPort && !isPort(port), !isHostName(name):
		v.failf(field, "must be the exact host of image references, with the port if it is not 443, not %q", shorten(value))
	}
}

// isFirstPathPart tells of a name that, at the start of a reference, isn't taken
// for a host unless a port follows it.
func isFirstPathPart(name string) bool {
	return name != "localhost" && !strings.ContainsAny(name, ".[")
}

func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

func isHostName(name string) bool {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && addr.Is6() && "["+addr.String()+"]" == name
	}
	return regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`).MatchString(name) && len(name) <= 253
}
