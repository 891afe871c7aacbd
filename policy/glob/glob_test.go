package glob_test

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/policy/glob"
)

func TestGlobs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		matches string
		misses  string // separated by spaces, like matches
	}{
		{"swr.*.myhuaweicloud.com/hwofficial/**",
			"swr.cn-north-4.myhuaweicloud.com/hwofficial/x swr.a.b.myhuaweicloud.com/hwofficial/x/y",
			"swr.cn-north-4.myhuaweicloud.com/prod/x evil.example.com/swr.cn.myhuaweicloud.com/hwofficial/x swr.cn.myhuaweicloud.com.evil.com/hwofficial/x"},
		{"**", "docker.io/library/nginx r.example.com:5000/a/b/c", ""},
		{"r.example.com/*", "r.example.com/a", "r.example.com/a/b xr.example.com/a r.example.comx/a"},
		{"r.example.com/**", "r.example.com/a r.example.com/a/b/c", "r.example.com:5000/a"},
		{"r.example.com/a/**/b", "r.example.com/a/b r.example.com/a/x/b r.example.com/a/x/y/b", "r.example.com/a/xb r.example.com/ab"},
		{"**/app", "r.example.com/app r.example.com/a/b/app", "r.example.com/myapp r.example.com/app/x"},
		{"r.example.com/a**z", "r.example.com/az r.example.com/a/b/z", "r.example.com/a/b"},
		{"r.example.com/app-*", "r.example.com/app-1 r.example.com/app-", "r.example.com/app r.example.com/app-1/x"},
		{"r.example.com/a.b", "r.example.com/a.b", "r.example.com/axb"},
		{"*/team/app", "r.example.com/team/app localhost:5000/team/app", "r.example.com/x/team/app"},
		{"R.Example.COM/app", "r.example.com/app", ""},
		{"r.example.com:443/app", "r.example.com/app", "r.example.com:443/app"},
		{"r.example.com:5000/app", "r.example.com:5000/app", "r.example.com/app"},
		{"docker.io/nginx", "docker.io/library/nginx", "docker.io/nginx"},
		{"index.docker.io/library/*", "docker.io/library/nginx", ""},
		{"docker.io/**", "docker.io/library/nginx docker.io/bitnami/redis", "quay.io/a/b"},
		{"[2001:db8::1]:5000/**", "[2001:db8::1]:5000/a/b", "2001:db8::1/a"},
		{"localhost/app", "localhost/app", "localhostx/app"},
		{"localhost:443/app", "localhost/app", "localhost:443/app"},
		{"r.example.com:0443/app", "r.example.com/app", "r.example.com:0443/app"},
		{"[2001:db8:0:0::1]:5000/a", "[2001:db8::1]:5000/a", "[2001:db8:0:0::1]:5000/a"},
		{"[::ffff:102:304]/**", "1.2.3.4/a", "[::ffff:102:304]/a"},
		{"registry:443/app", "registry:443/app", "registry/app"},
	} {
		g, err := glob.Compile(c.pattern)
		if err != nil {
			t.Errorf("glob %s: %v", c.pattern, err)
		}
		for repository := range strings.FieldsSeq(c.matches) {
			if !g.Match(repository) {
				t.Errorf("glob %s does not match %s", c.pattern, repository)
			}
		}
		for repository := range strings.FieldsSeq(c.misses) {
			if g.Match(repository) {
				t.Errorf("glob %s matches %s", c.pattern, repository)
			}
		}
	}
}

func TestInvalidGlobsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	const syntax = "must be a glob over host/path"
	for pattern, want := range map[string]string{
		"": syntax, "https://r.example.com/app": syntax, "r.example.com/app:1.4": syntax, "r.example.com/app@sha256:abc": syntax,
		"/r.example.com/app": syntax, "r.example.com//app": syntax, "r.example.com/app/": syntax, "nginx": syntax, "*": syntax,
		"library/nginx": syntax, "r.example.com/App": syntax, "r example.com/a": syntax, "r.example.com/\x00": syntax, "r.example.com/ü": syntax,
		"r.example.com:/a":       `port "" is not between 1 and 65535`,
		"r.example.com:99999/**": `port "99999" is not between 1 and 65535`,
		"[::g.]/**":              "host [::g.] is no IPv6 address",
	} {
		if _, err := glob.Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("glob %q: error is %v, want one with %q", pattern, err, want)
		}
	}
}

// FuzzGlob compares the matcher with a slow one that follows the definition.
func FuzzGlob(f *testing.F) {
	f.Add("swr.*.example.com/a/**", "swr.x.example.com/a/b/c")
	f.Add("**/a/**/b*", "r.io/a/b")
	f.Add("*.io/**/**/x", "r.io/x")
	f.Add("r.io/a**b**c", "r.io/a/b/c")
	f.Fuzz(func(t *testing.T, pattern, repository string) {
		g, err := glob.Compile(pattern)
		host, _, _ := strings.Cut(pattern, "/")
		if err != nil || len(repository) > 24 || strings.Count(pattern, "*") > 6 ||
			host != strings.ToLower(host) || strings.HasSuffix(host, ":443") || strings.HasSuffix(host, "docker.io") {
			return
		}
		if got, want := g.Match(repository), slowMatch(pattern, repository, true); got != want {
			t.Errorf("glob %q matches %q: %t, want %t", pattern, repository, got, want)
		}
	})
}

// slowMatch tries every way to match; start says that pattern begins a segment.
func slowMatch(pattern, s string, start bool) bool {
	switch {
	case pattern == "":
		return s == ""
	case start && strings.HasPrefix(pattern, "**/"):
		if slowMatch(pattern[3:], s, true) {
			return true
		}
		for i := range len(s) {
			if s[i] == '/' && slowMatch(pattern[3:], s[i+1:], true) {
				return true
			}
		}
		return false
	case strings.HasPrefix(pattern, "**"):
		return slowStar(pattern[2:], s, "")
	case pattern[0] == '*':
		return slowStar(pattern[1:], s, "/")
	}
	return s != "" && s[0] == pattern[0] && slowMatch(pattern[1:], s[1:], pattern[0] == '/')
}

func slowStar(rest, s, stop string) bool {
	for i := 0; i <= len(s); i++ {
		if slowMatch(rest, s[i:], false) {
			return true
		}
		if i < len(s) && stop != "" && s[i] == stop[0] {
			return false
		}
	}
	return false
}
