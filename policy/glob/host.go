package glob

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const defaultPort = "443"

// NormalizeHost gives one registry one name: in lower case, without the default port.
// Were it not for this, "SWR.example.com:443/prod/app" would slip past a policy for
// "swr.example.com/**" and still be pulled from there. Only a host without a dot, such
// as "registry:443", keeps the port, or it would be read as a path on Docker Hub. An
// IPv4 address that is written as an IPv6 one is connected to as IPv4.
func NormalizeHost(host string) (string, error) {
	host, port := strings.ToLower(host), defaultPort
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		n, err := strconv.ParseUint(host[i+1:], 10, 16)
		if err != nil || n == 0 {
			return "", fmt.Errorf("port %q is not between 1 and 65535", host[i+1:])
		}
		host, port = host[:i], strconv.FormatUint(n, 10)
	}
	if strings.ContainsAny(host, "[]") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
		if err != nil {
			return "", fmt.Errorf("host %s is no IPv6 address", host)
		}
		if host = "[" + addr.String() + "]"; addr.Unmap().Is4() {
			host = addr.Unmap().String()
		}
	}
	if port == defaultPort && (host == "localhost" || strings.ContainsAny(host, ".[")) {
		return host, nil
	}
	return host + ":" + port, nil
}
