package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/image"
)

const digest = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want image.Reference
	}{
		"a bare name is Docker Hub's library image":   {"nginx", image.Reference{Host: "docker.io", Path: "library/nginx", Tag: "latest"}},
		"Docker Hub's old host is its new one":        {"index.docker.io/nginx", image.Reference{Host: "docker.io", Path: "library/nginx", Tag: "latest"}},
		"Docker Hub's old host in capitals, too":      {"INDEX.docker.io:0443/nginx", image.Reference{Host: "docker.io", Path: "library/nginx", Tag: "latest"}},
		"another port of Docker Hub is another host":  {"docker.io:5000/nginx:1", image.Reference{Host: "docker.io:5000", Path: "nginx", Tag: "1"}},
		"an IPv4 host in IPv6 is the IPv4 host":       {"[::ffff:102:304]:443/prod/app:1", image.Reference{Host: "1.2.3.4", Path: "prod/app", Tag: "1"}},
		"a host with a dot":                           {"swr.cn-north-4.myhuaweicloud.com/prod/app:1.4", image.Reference{Host: "swr.cn-north-4.myhuaweicloud.com", Path: "prod/app", Tag: "1.4"}},
		"a port and no tag":                           {"harbor.corp:8443/shop/web", image.Reference{Host: "harbor.corp:8443", Path: "shop/web", Tag: "latest"}},
		"localhost is a host without a dot":           {"localhost/app", image.Reference{Host: "localhost", Path: "app", Tag: "latest"}},
		"nested paths stay whole":                     {"swr.x.com/prod/team/app:1", image.Reference{Host: "swr.x.com", Path: "prod/team/app", Tag: "1"}},
		"a digest alone gets no tag":                  {"swr.x.com/prod/app@" + digest, image.Reference{Host: "swr.x.com", Path: "prod/app", Digest: digest}},
		"a tag and a digest are both kept":            {"swr.x.com/prod/app:1@" + digest, image.Reference{Host: "swr.x.com", Path: "prod/app", Tag: "1", Digest: digest}},
		"an IPv6 host is written in its short form":   {"[2001:0db8:0:0::1]/prod/app:1", image.Reference{Host: "[2001:db8::1]", Path: "prod/app", Tag: "1"}},
		"a host is lower-cased":                       {"SWR.X.com/prod/app:1", image.Reference{Host: "swr.x.com", Path: "prod/app", Tag: "1"}},
		"the default port is dropped however written": {"swr.x.com:00443/prod/app:1", image.Reference{Host: "swr.x.com", Path: "prod/app", Tag: "1"}},
		"a host without a dot keeps its port":         {"registry:443/prod/app:1", image.Reference{Host: "registry:443", Path: "prod/app", Tag: "1"}},
		"capitals make a host of a first part":        {"Registry/app:1", image.Reference{Host: "registry:443", Path: "app", Tag: "1"}},
		"a host may have an underscore":               {"my_registry.corp/prod/app:1", image.Reference{Host: "my_registry.corp", Path: "prod/app", Tag: "1"}},
		"an image called sha256 has a host, a path":   {"docker.io/library/sha256:abc", image.Reference{Host: "docker.io", Path: "library/sha256", Tag: "abc"}},
		"or no tag":               {"sha256", image.Reference{Host: "docker.io", Path: "library/sha256", Tag: "latest"}},
		"a tag may have capitals": {"swr.x.com/prod/app:V1.0_RC-2", image.Reference{Host: "swr.x.com", Path: "prod/app", Tag: "V1.0_RC-2"}},
	}
	for name, tt := range tests {
		if got, err := image.Parse(tt.in); err != nil || got != tt.want {
			t.Errorf("%s: Parse(%q) = %+v, %v, want %+v", name, tt.in, got, err, tt.want)
		}
	}
}

func TestParseRefusesWithTheReason(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, reason string }{
		"nothing":                        {"", "it is empty"},
		"capitals in the path":           {"swr.x.com/Prod/app", "must be lowercase"},
		"an image ID":                    {strings.Repeat("ab", 32), "64-byte hexadecimal"},
		"an image ID with its algorithm": {digest, "names an image on the node"},
		"an image ID in short":           {digest[:19], "names an image on the node"},
		"an image ID in capitals":        {"sha256:" + strings.ToUpper(digest[7:]), "names an image on the node"},
		"an image ID by SHA-512":         {"sha512:" + strings.Repeat("ab", 63), "names an image on the node"},
		"an image ID with a digest":      {digest[:19] + "@" + digest, "names an image on the node"},
		"an image ID after a space":      {" " + digest, "not of the form"},
		"a digest that is too short":     {"swr.x.com/prod/app@sha256:abc", "not of the form"},
		"an unknown digest algorithm":    {"swr.x.com/prod/app@md9:7cc4b5aefd1d0cadf8d97d4350462ba5", "unsupported digest algorithm"},
		"a scheme":                       {"https://swr.x.com/prod/app", "not of the form"},
		"a space before the name":        {" nginx", "not of the form"},
		"a tag of 129 characters":        {"nginx:" + strings.Repeat("a", 129), "not of the form"},
		"a name of more than 255":        {"swr.x.com/" + strings.Repeat("a", 256), "255"},
		"a port that is no port":         {"swr.x.com:70000/prod/app", `port "70000" is not between 1 and 65535`},
		"port 0":                         {"swr.x.com:0/prod/app", `port "0" is not between 1 and 65535`},
		"an IPv6 host that is no number": {"[:::::]/prod/app", "no IPv6 address"},
		"a reference beyond all bounds":  {strings.Repeat("a/", 600) + "b", "at most 1024"},
	}
	for name, tt := range tests {
		if _, err := image.Parse(tt.in); !errors.Is(err, image.ErrInvalidReference) || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%s: Parse(%q) = %v, want ErrInvalidReference that says %q", name, tt.in, err, tt.reason)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"nginx", "a/b:c", "h:443/a@" + digest, "[::1]:5000/a/b:1", "H.X/a__b/c.d:T", "localhost/a", "x.y:0443/p", "", "Docker.io/a", "INDEX.docker.io:443/a", "[::ffff:102:304]/a", "a.b_c/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := image.Parse(s)
		if err != nil {
			if !errors.Is(err, image.ErrInvalidReference) {
				t.Fatalf("Parse(%q) = %v, want ErrInvalidReference", s, err)
			}
			return
		}
		if r.Host == "" || r.Path == "" || r.Tag == "" && r.Digest == "" {
			t.Fatalf("Parse(%q) = %+v lacks a part", s, r)
		}
		again, err := image.Parse(r.String())
		if err != nil {
			t.Fatalf("Parse(%q) = %q, which does not parse: %v", s, r, err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("Parse(%q) is not stable (-first +second):\n%s", s, diff)
		}
	})
}
